package auth

import (
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"strings"
)

// MinRSABits is the smallest key that is accepted (RFC 7518 §3.3).
const MinRSABits = 2048

// GenerateRSAKey makes a key to sign tokens with.
func GenerateRSAKey() (*rsa.PrivateKey, error) { return rsa.GenerateKey(rand.Reader, MinRSABits) }

// EncodePrivateKeyPEM writes the key as PKCS #8.
func EncodePrivateKeyPEM(key *rsa.PrivateKey) ([]byte, error) {
	der, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		return nil, err
	}
	return pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der}), nil
}

// EncodePublicKeyPEM writes the public half, for OSA_JWT_PUBLIC_KEY.
func EncodePublicKeyPEM(key *rsa.PublicKey) ([]byte, error) {
	der, err := x509.MarshalPKIXPublicKey(key)
	if err != nil {
		return nil, err
	}
	return pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: der}), nil
}

// ParsePrivateKeyPEM reads an RSA key in PKCS #8 or PKCS #1.
func ParsePrivateKeyPEM(b []byte) (*rsa.PrivateKey, error) {
	block, _ := pem.Decode(b)
	if block == nil {
		return nil, errors.New("no PEM block was found")
	}
	var parsed any
	var err error
	switch block.Type {
	case "PRIVATE KEY":
		parsed, err = x509.ParsePKCS8PrivateKey(block.Bytes)
	case "RSA PRIVATE KEY":
		parsed, err = x509.ParsePKCS1PrivateKey(block.Bytes)
	default:
		return nil, fmt.Errorf("the PEM block is a %s, not a private key", block.Type)
	}
	if err != nil {
		return nil, errors.New("the PEM block is damaged") // err may quote the key
	}
	key, ok := parsed.(*rsa.PrivateKey)
	if !ok {
		return nil, errors.New("the private key is not an RSA key")
	}
	return key, checkSize(&key.PublicKey)
}

// ParsePublicKeyPEM reads an RSA public key, also out of a certificate. Newlines
// may be written as \n, as they have to be in some environment files.
func ParsePublicKeyPEM(b []byte) (*rsa.PublicKey, error) {
	if s := string(b); !strings.Contains(strings.TrimSpace(s), "\n") {
		b = []byte(strings.ReplaceAll(s, `\n`, "\n"))
	}
	block, _ := pem.Decode(b)
	if block == nil {
		return nil, errors.New("no PEM block was found")
	}
	var parsed any
	var err error
	switch {
	case block.Type == "PUBLIC KEY":
		parsed, err = x509.ParsePKIXPublicKey(block.Bytes)
	case block.Type == "RSA PUBLIC KEY":
		parsed, err = x509.ParsePKCS1PublicKey(block.Bytes)
	case block.Type == "CERTIFICATE":
		var cert *x509.Certificate
		if cert, err = x509.ParseCertificate(block.Bytes); err == nil {
			parsed = cert.PublicKey
		}
	case strings.HasSuffix(block.Type, "PRIVATE KEY"):
		return nil, errors.New("this is a private key; the gateway needs the public one only")
	default:
		return nil, fmt.Errorf("the PEM block is a %s, not a public key", block.Type)
	}
	if err != nil {
		return nil, errors.New("the PEM block is damaged")
	}
	key, ok := parsed.(*rsa.PublicKey)
	if !ok {
		return nil, errors.New("the public key is not an RSA key; tokens are signed with RS256")
	}
	return key, checkSize(key)
}

func checkSize(key *rsa.PublicKey) error {
	if n := key.N.BitLen(); n < MinRSABits {
		return fmt.Errorf("the RSA key has %d bits; it must have at least %d", n, MinRSABits)
	}
	return nil
}
