// Package network answers two questions about addresses: which address a client is
// counted under, and whether a host is this machine.
package network

import (
	"net/netip"
	"strings"
)

// prefixBits is the length of the prefix that an IPv6 network assigns. A host chooses
// the other bits itself.
const prefixBits = 64

// ClientOf returns the address that a client is counted under. It is the address
// itself for IPv4, and the first address of its /64 for IPv6. It is zero for the zero
// address.
func ClientOf(addr netip.Addr) netip.Addr {
	if addr = addr.Unmap(); !addr.Is6() {
		return addr
	}
	return prefix(addr).Addr()
}

// ClientName returns the text of what a client is counted under: the address for IPv4,
// and the /64 in CIDR notation for IPv6. A text that is no address is returned as it is.
func ClientName(text string) string {
	addr, err := netip.ParseAddr(text)
	switch {
	case err != nil:
		return text
	case addr.Unmap().Is6():
		return prefix(addr).String()
	}
	return addr.Unmap().String()
}

// prefix returns the /64 that an IPv6 address belongs to.
func prefix(addr netip.Addr) netip.Prefix {
	return netip.PrefixFrom(addr.WithZone(""), prefixBits).Masked()
}

// IsLoopback reports whether a host, as it stands in a URL, is a loopback address or
// localhost.
func IsLoopback(host string) bool {
	if strings.EqualFold(host, "localhost") {
		return true
	}
	addr, err := netip.ParseAddr(host)
	return err == nil && addr.Unmap().IsLoopback()
}
