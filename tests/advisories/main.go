// Command advisories reads what `govulncheck -format json` writes on its standard
// input and fails where the code reaches an advisory that a newer version mends.
// Its argument is a file of exceptions.
package main

import (
	"bufio"
	"fmt"
	"io"
	"maps"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/go-json-experiment/json/jsontext"

	"github.com/osa-edge/osa-gateway/internal/strictjson"
)

func main() {
	excepted, err := readExceptions(os.Args[1], time.Now())
	if err == nil {
		err = report(os.Stdin, os.Stdout, excepted)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "advisories:", err)
		os.Exit(1)
	}
}

// finding is a message of govulncheck about one advisory. A trace whose first frame
// names a function is a call that the code makes.
type finding struct {
	OSV   string `json:"osv"`
	Fixed string `json:"fixed_version"`
	Trace []struct {
		Module   string `json:"module"`
		Version  string `json:"version"`
		Package  string `json:"package"`
		Function string `json:"function"`
		Receiver string `json:"receiver"`
	} `json:"trace"`
}

// report writes a line for each advisory that is reached. It returns an error where
// one of them can be mended and is no exception, and where an exception is not
// needed.
func report(in io.Reader, out io.Writer, excepted map[string]string) error {
	reached := map[string]finding{}
	complete := false
	d := jsontext.NewDecoder(in, jsontext.AllowDuplicateNames(false))
	for {
		raw, err := d.ReadValue()
		if err == io.EOF {
			break
		}
		if err != nil {
			return fmt.Errorf("reading govulncheck's answer: %w", err)
		}
		var message struct {
			SBOM    *jsontext.Value `json:"SBOM"`
			Finding *finding        `json:"finding"`
		}
		if err := strictjson.Unmarshal(raw, &message); err != nil {
			return fmt.Errorf("govulncheck's answer: %w", err)
		}
		complete = complete || message.SBOM != nil
		if f := message.Finding; f != nil && len(f.Trace) > 0 && f.Trace[0].Function != "" {
			reached[f.OSV] = *f
		}
	}
	if !complete {
		return fmt.Errorf("govulncheck has looked at nothing")
	}
	var open []string
	for _, id := range slices.Sorted(maps.Keys(reached)) {
		f := reached[id]
		at := f.Trace[0]
		switch {
		case f.Fixed == "":
			fmt.Fprintf(out, "%s: %s %s is reached (%s.%s); no version mends it yet\n", id, at.Module, at.Version, at.Package, at.Function)
		case excepted[id] != "":
			fmt.Fprintf(out, "%s: %s %s is reached; accepted: %s\n", id, at.Module, at.Version, excepted[id])
		default:
			fmt.Fprintf(out, "%s: %s %s is reached (%s.%s); %s mends it\n", id, at.Module, at.Version, at.Package, at.Function, f.Fixed)
			open = append(open, id)
		}
	}
	for _, id := range slices.Sorted(maps.Keys(excepted)) {
		if f, ok := reached[id]; !ok || f.Fixed == "" {
			fmt.Fprintf(out, "%s: the exception is not needed: take it out\n", id)
			open = append(open, id)
		}
	}
	if len(open) > 0 {
		return fmt.Errorf("%d to be dealt with: %s", len(open), strings.Join(open, ", "))
	}
	fmt.Fprintf(out, "no advisory that can be mended is reached; %d others are\n", len(reached))
	return nil
}

// readExceptions reads lines of an id, the last day and a reason.
func readExceptions(path string, now time.Time) (map[string]string, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer func() { _ = f.Close() }()
	excepted := map[string]string{}
	lines := bufio.NewScanner(f)
	for lines.Scan() {
		words := strings.Fields(lines.Text())
		if len(words) == 0 || strings.HasPrefix(words[0], "#") {
			continue
		}
		if len(words) < 5 {
			return nil, fmt.Errorf("%s: an exception has an id, a last day and a reason: %q", path, lines.Text())
		}
		last, err := time.Parse(time.DateOnly, words[1])
		if err != nil {
			return nil, fmt.Errorf("%s: %s: %w", path, words[0], err)
		}
		if now.After(last.AddDate(0, 0, 1)) {
			return nil, fmt.Errorf("%s: the exception %s ended on %s", path, words[0], words[1])
		}
		excepted[words[0]] = strings.Join(words[2:], " ")
	}
	return excepted, lines.Err()
}
