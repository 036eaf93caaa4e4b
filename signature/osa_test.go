package signature_test

import (
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/osa-edge/osa-gateway/signature"
)

var now = time.Unix(1_790_000_000, 900_000_000) // late in its second

func key() string {
	var b [32]byte
	_, _ = rand.Read(b[:])
	return hex.EncodeToString(b[:])
}

func secret(id, key string) *signature.Secret {
	return signature.NewSecret(id, []byte(key), time.Time{}, time.Time{})
}

// TestKnownAnswer pins the scheme to what any other implementation computes:
//
//	printf '%s' '1790000000.{"a":1}' | openssl dgst -sha256 -hmac 0f1e2d3c4b5a69788796a5b4c3d2e1f0
func TestKnownAnswer(t *testing.T) {
	got := signature.Sign("0f1e2d3c4b5a69788796a5b4c3d2e1f0", []byte(`{"a":1}`), now)
	const want = "t=1790000000,v1=e3df726b83e3558941136ac48d9d993da49f970005ee1a89dfc2b977b2ba2462"
	if got != want {
		t.Fatalf("got %s, want %s", got, want)
	}
}

func TestVerify(t *testing.T) {
	const body = `{"workflow_id":"wf-1","event_type":"workflow_progress"}`
	k := key()
	sign := func(at time.Time) string { return signature.Sign(k, []byte(body), at) }
	good := sign(now)
	stamp, v1, _ := strings.Cut(good, ",")
	v1hex := strings.TrimPrefix(v1, "v1=")
	// mac signs a timestamp however it is written: only the form is wrong then.
	mac := func(ts string) string {
		return "t=" + ts + ",v1=" + hexMAC(k, ts+"."+body)
	}
	repeat := func(item string, n int) string { return stamp + strings.Repeat(","+item, n) }
	unix := func(d int64) string { return strconv.FormatInt(now.Unix()+d, 10) }

	tests := []struct {
		name    string
		headers []string
		stamps  []string // X-OSA-Timestamp
		body    string
		want    error
	}{
		{name: "as signed", headers: []string{good}},
		{name: "upper-case digits", headers: []string{stamp + ",v1=" + strings.ToUpper(v1hex)}},
		{name: "300 s old", headers: []string{sign(now.Add(-300 * time.Second))}},
		{name: "300 s ahead", headers: []string{sign(now.Add(300 * time.Second))}},
		{name: "timestamp header agrees", headers: []string{good}, stamps: []string{unix(0)}},
		{name: "another v1 first", headers: []string{stamp + ",v1=" + strings.Repeat("0", 64) + "," + v1}},
		{name: "another v1 last", headers: []string{good + ",v1=" + strings.Repeat("0", 64)}},
		{name: "16 v1", headers: []string{repeat(v1, 16)}},
		{name: "other versions beside", headers: []string{stamp + ",v0=abc," + v1 + ",v2=x=y"}},
		{name: "version 10 is not 1", headers: []string{stamp + ",v10=zz," + v1}},

		{name: "none", want: signature.Missing},
		{name: "empty", headers: []string{""}, want: signature.Missing},
		{name: "two headers", headers: []string{good, good}, want: signature.MultipleHeaders},
		{name: "two headers, one empty", headers: []string{good, ""}, want: signature.MultipleHeaders},
		{name: "comma-joined headers", headers: []string{good + "," + good}, want: signature.Malformed},
		{name: "comma-and-space-joined headers", headers: []string{good + ", " + good}, want: signature.Malformed},
		{name: "empty v1", headers: []string{stamp + ",v1="}, want: signature.Malformed},
		{name: "short v1", headers: []string{stamp + "," + v1[:len(v1)-2]}, want: signature.Malformed},
		{name: "odd v1", headers: []string{stamp + "," + v1[:len(v1)-1]}, want: signature.Malformed},
		{name: "long v1", headers: []string{stamp + "," + v1 + "00"}, want: signature.Malformed},
		{name: "non-hex v1", headers: []string{stamp + "," + v1[:len(v1)-1] + "g"}, want: signature.Malformed},
		{name: "non-ASCII v1", headers: []string{stamp + "," + v1[:len(v1)-2] + "é"}, want: signature.Malformed},
		{name: "good v1 beside a short one", headers: []string{good + ",v1=00"}, want: signature.Malformed},
		{name: "two t", headers: []string{stamp + "," + good}, want: signature.Malformed},
		{name: "t again at the end", headers: []string{good + "," + stamp}, want: signature.Malformed},
		{name: "t after v1", headers: []string{v1 + "," + stamp}, want: signature.Malformed},
		{name: "no t", headers: []string{v1}, want: signature.Malformed},
		{name: "only t", headers: []string{stamp}, want: signature.UnsupportedVersion},
		{name: "empty t", headers: []string{mac("")}, want: signature.Malformed},
		{name: "t 0", headers: []string{mac("0")}, want: signature.Malformed},
		{name: "negative t", headers: []string{mac("-" + unix(0))}, want: signature.Malformed},
		{name: "hexadecimal t", headers: []string{mac(fmt.Sprintf("0x%x", now.Unix()))}, want: signature.Malformed},
		{name: "t of 18 digits", headers: []string{mac(strings.Repeat("9", 18))}, want: signature.TimestampOutOfRange},
		{name: "t of 20 digits", headers: []string{mac(strings.Repeat("1", 20))}, want: signature.Malformed},
		{name: "t in milliseconds", headers: []string{mac(unix(0) + "000")}, want: signature.TimestampOutOfRange},
		{name: "leading plus", headers: []string{mac("+" + unix(0))}, want: signature.Malformed},
		{name: "leading zeros", headers: []string{mac("00" + unix(0))}, want: signature.Malformed},
		{name: "fraction", headers: []string{mac(unix(0) + ".0")}, want: signature.Malformed},
		{name: "exponent", headers: []string{mac("1e9")}, want: signature.Malformed},
		{name: "space before t", headers: []string{" " + good}, want: signature.Malformed},
		{name: "space after t=", headers: []string{"t= " + good[2:]}, want: signature.Malformed},
		{name: "space before v1", headers: []string{stamp + ", " + v1}, want: signature.Malformed},
		{name: "space after v1", headers: []string{good + " "}, want: signature.Malformed},
		{name: "tab", headers: []string{stamp + ",\t" + v1}, want: signature.Malformed},
		{name: "trailing comma", headers: []string{good + ","}, want: signature.Malformed},
		{name: "empty item", headers: []string{stamp + ",," + v1}, want: signature.Malformed},
		{name: "unknown key", headers: []string{good + ",x=1"}, want: signature.Malformed},
		{name: "upper-case keys", headers: []string{strings.Replace(good, "v1", "V1", 1)}, want: signature.Malformed},
		{name: "v01", headers: []string{strings.Replace(good, "v1", "v01", 1)}, want: signature.Malformed},
		{name: "no equals sign", headers: []string{stamp + ",v1"}, want: signature.Malformed},
		{name: "quoted", headers: []string{`t="` + unix(0) + `",` + v1}, want: signature.Malformed},
		{name: "301 s old", headers: []string{sign(now.Add(-301 * time.Second))}, want: signature.TimestampOutOfRange},
		{name: "301 s ahead", headers: []string{sign(now.Add(301 * time.Second))}, want: signature.TimestampOutOfRange},
		{name: "only v0", headers: []string{strings.Replace(good, "v1", "v0", 1)}, want: signature.UnsupportedVersion},
		{name: "17 v1", headers: []string{repeat(v1, 17)}, want: signature.TooManySignatures},
		{name: "hundreds of v1", headers: []string{repeat(v1, 400)}, want: signature.TooManySignatures},
		{name: "hundreds of v2", headers: []string{repeat("v2=a", 400) + "," + v1}, want: signature.TooManySignatures},
		{name: "timestamp header differs", headers: []string{good}, stamps: []string{unix(1)}, want: signature.TimestampMismatch},
		{name: "timestamp header is empty", headers: []string{good}, stamps: []string{""}, want: signature.TimestampMismatch},
		{name: "timestamp header is written otherwise", headers: []string{good}, stamps: []string{"0" + unix(0)}, want: signature.TimestampMismatch},
		{name: "two timestamp headers", headers: []string{good}, stamps: []string{unix(0), unix(0)}, want: signature.TimestampMismatch},
		{name: "another secret", headers: []string{signature.Sign(key(), []byte(body), now)}, want: signature.NoMatchingSignature},
		{name: "re-serialised body", headers: []string{good}, body: strings.ReplaceAll(body, ":", ": "), want: signature.NoMatchingSignature},
		{name: "trailing newline", headers: []string{good}, body: body + "\n", want: signature.NoMatchingSignature},
		{name: "byte order mark", headers: []string{good}, body: "\ufeff" + body, want: signature.NoMatchingSignature},
		{name: "t cut short", headers: []string{"t=" + unix(0)[:9] + ",v1=" + v1hex}, want: signature.TimestampOutOfRange},
	}
	scheme := signature.NewOSA(0)
	secrets := []*signature.Secret{secret("old", key()), secret("current", k)}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			h := http.Header{}
			for _, v := range tt.headers {
				h.Add("X-OSA-Signature", v)
			}
			for _, v := range tt.stamps {
				h.Add("X-OSA-Timestamp", v)
			}
			b := body
			if tt.body != "" {
				b = tt.body
			}
			got, err := scheme.Verify(h, []byte(b), secrets, now)
			if !errors.Is(err, tt.want) {
				t.Fatalf("got error %v, want %v", err, tt.want)
			}
			if (err == nil) != (got != nil) {
				t.Fatalf("secret %v with error %v", got, err)
			}
			if err == nil && got.ID() != "current" {
				t.Fatalf("matched %s", got.ID())
			}
		})
	}
}

func TestSecretsHoldWithinTheirDates(t *testing.T) {
	k := key()
	body := []byte("{}")
	h := http.Header{"X-Osa-Signature": {signature.Sign(k, body, now)}}
	for _, tt := range []struct {
		name          string
		before, after time.Time
		want          error
	}{
		{"no dates", time.Time{}, time.Time{}, nil},
		{"begins now", now, time.Time{}, nil},
		{"begins later", now.Add(1), time.Time{}, signature.NoActiveSecret},
		{"ends now", time.Time{}, now, nil},
		{"ended", time.Time{}, now.Add(-1), signature.NoActiveSecret},
	} {
		t.Run(tt.name, func(t *testing.T) {
			s := signature.NewSecret("a", []byte(k), tt.before, tt.after)
			if _, err := signature.NewOSA(0).Verify(h, body, []*signature.Secret{s}, now); !errors.Is(err, tt.want) {
				t.Fatalf("got %v, want %v", err, tt.want)
			}
		})
	}
	t.Run("an ended secret does not verify beside an active one", func(t *testing.T) {
		ended := signature.NewSecret("ended", []byte(k), time.Time{}, now.Add(-1))
		_, err := signature.NewOSA(0).Verify(h, body, []*signature.Secret{ended, secret("other", key())}, now)
		if !errors.Is(err, signature.NoMatchingSignature) {
			t.Fatalf("got %v", err)
		}
	})
	t.Run("no secrets at all", func(t *testing.T) {
		if _, err := signature.NewOSA(0).Verify(h, body, nil, now); !errors.Is(err, signature.NoActiveSecret) {
			t.Fatalf("got %v", err)
		}
	})
}

func TestTolerance(t *testing.T) {
	k := key()
	scheme := signature.NewOSA(10 * time.Second)
	for d, want := range map[int]error{10: nil, 11: signature.TimestampOutOfRange, -10: nil, -11: signature.TimestampOutOfRange} {
		h := http.Header{"X-Osa-Signature": {signature.Sign(k, nil, now.Add(time.Duration(d)*time.Second))}}
		if _, err := scheme.Verify(h, nil, []*signature.Secret{secret("a", k)}, now); !errors.Is(err, want) {
			t.Errorf("%d s: got %v, want %v", d, err, want)
		}
	}
}

// TestAnyChangeFails: what was signed verifies, and with one bit flipped in the
// body, the secret or the signature it does not.
func TestAnyChangeFails(t *testing.T) {
	scheme := signature.NewOSA(0)
	rapid.Check(t, func(t *rapid.T) {
		k := rapid.SliceOfN(rapid.Byte(), 32, 100).Draw(t, "key")
		body := rapid.SliceOfN(rapid.Byte(), 1, 3000).Draw(t, "body")
		at := time.Unix(rapid.Int64Range(1, 1<<40).Draw(t, "unix"), 0)
		mine := signature.NewSecret("a", k, time.Time{}, time.Time{})
		h := http.Header{}
		scheme.Sign(h, body, mine, at)
		if got, err := scheme.Verify(h, body, []*signature.Secret{mine}, at); err != nil || got != mine {
			t.Fatalf("what was signed did not verify: %v", err)
		}
		flip := func(b []byte) []byte {
			b = append([]byte(nil), b...)
			bit := rapid.IntRange(0, len(b)*8-1).Draw(t, "bit")
			b[bit/8] ^= 1 << (bit % 8)
			return b
		}
		if _, err := scheme.Verify(h, flip(body), []*signature.Secret{mine}, at); !errors.Is(err, signature.NoMatchingSignature) {
			t.Fatalf("a changed body: %v", err)
		}
		other := signature.NewSecret("b", flip(k), time.Time{}, time.Time{})
		if _, err := scheme.Verify(h, body, []*signature.Secret{other}, at); !errors.Is(err, signature.NoMatchingSignature) {
			t.Fatalf("a changed secret: %v", err)
		}
		was := h.Get("X-OSA-Signature")
		changed := string(flip([]byte(was)))
		// The case of a hexadecimal digit is the one bit that says nothing.
		if !strings.EqualFold(was[strings.Index(was, "v1=")+3:], changed[min(len(changed), strings.Index(was, "v1=")+3):]) ||
			was[:strings.Index(was, "v1=")+3] != changed[:strings.Index(was, "v1=")+3] {
			h.Set("X-OSA-Signature", changed)
			if _, err := scheme.Verify(h, body, []*signature.Secret{mine}, at); err == nil {
				t.Fatalf("a changed signature verified: %s became %s", was, changed)
			}
		}
	})
}

func TestConcurrentUse(t *testing.T) {
	k := key()
	s := secret("a", k)
	scheme := signature.NewOSA(0)
	done := make(chan error)
	for i := range 8 {
		go func() {
			body := []byte(strings.Repeat(strconv.Itoa(i), 500+i))
			h := http.Header{"X-Osa-Signature": {signature.Sign(k, body, now)}}
			for range 200 {
				if _, err := scheme.Verify(h, body, []*signature.Secret{s}, now); err != nil {
					done <- err
					return
				}
			}
			done <- nil
		}()
	}
	for range 8 {
		if err := <-done; err != nil {
			t.Error(err)
		}
	}
}

func FuzzVerify(f *testing.F) {
	k := strings.Repeat("0123456789abcdef", 2)
	good := signature.Sign(k, []byte("{}"), now)
	for _, seed := range []string{
		good, "", "t=", "t=1", "t=0,v1=", good + "," + good, good + ",v0=1,v2=2", "v1=00,t=1", "t=+1790000000,v1=00",
		"t=1790000000,v1=" + strings.Repeat("f", 64), "t=99999999999999999999,v1=00", " t=1790000000", "t=0x6ab13b80,v1=00",
	} {
		f.Add(seed)
	}
	scheme := signature.NewOSA(0)
	secrets := []*signature.Secret{secret("a", k)}
	_, sum, _ := strings.Cut(good, ",v1=")
	f.Fuzz(func(t *testing.T, header string) {
		got, err := scheme.Verify(http.Header{"X-Osa-Signature": {header}}, []byte("{}"), secrets, now)
		if err == nil {
			// Only this timestamp and this sum can have been signed.
			if got != secrets[0] || !strings.HasPrefix(header, "t=1790000000,") || !strings.Contains(strings.ToLower(header), "v1="+sum) {
				t.Fatalf("accepted %q", header)
			}
			return
		}
		if _, ok := err.(signature.Reason); !ok || got != nil {
			t.Fatalf("%q: secret %v, error %v", header, got, err)
		}
	})
}

func BenchmarkVerify(b *testing.B) {
	k := key()
	secrets := []*signature.Secret{secret("a", k)}
	scheme := signature.NewOSA(0)
	for _, size := range []int{64, 1024, 64 << 10} {
		b.Run(strconv.Itoa(size), func(b *testing.B) {
			body := make([]byte, size)
			h := http.Header{"X-Osa-Signature": {signature.Sign(k, body, now)}}
			b.ReportAllocs()
			for b.Loop() {
				if _, err := scheme.Verify(h, body, secrets, now); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
