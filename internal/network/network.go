// Package network tells whom an address counts for.
package network

import "net/netip"

// hostBits are the bits of an IPv6 address that its network has given out; a host
// may choose the rest.
const hostBits = 64

// Of is whom an address counts for: an IPv4 address for itself, an IPv6 address,
// whatever its zone, for the first of its /64. It is zero for no address.
func Of(addr netip.Addr) netip.Addr {
	if addr = addr.Unmap(); !addr.Is6() {
		return addr
	}
	return Prefix(addr).Addr()
}

// Prefix is the network of an IPv6 address.
func Prefix(addr netip.Addr) netip.Prefix {
	return netip.PrefixFrom(addr.WithZone(""), hostBits).Masked()
}
