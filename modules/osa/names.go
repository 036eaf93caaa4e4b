package osa

import "github.com/caddyserver/caddy/v2"

// ValidName reports whether a configuration may name something so: 1 to 64 letters,
// digits, dots, dashes or underscores.
func ValidName(name string) bool {
	for i := range len(name) {
		c := name[i]
		if (c < 'a' || c > 'z') && (c < 'A' || c > 'Z') && (c < '0' || c > '9') && c != '.' && c != '-' && c != '_' {
			return false
		}
	}
	return name != "" && len(name) <= 64
}

// GuestModules are the names of the modules that there are in a namespace, such as
// osa.auth.
func GuestModules(namespace string) []string {
	var names []string
	for _, m := range caddy.GetModules(namespace) {
		names = append(names, m.ID.Name())
	}
	return names
}
