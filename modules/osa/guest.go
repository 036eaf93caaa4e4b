package osa

import (
	"strings"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/caddyconfig/caddyfile"
)

// ValidName reports whether name can be a name in the configuration: 1 to 64 letters,
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

// GuestModules returns the names of the modules in a namespace such as osa.auth.
func GuestModules(namespace string) []string {
	var names []string
	for _, m := range caddy.GetModules(namespace) {
		names = append(names, m.ID.Name())
	}
	return names
}

// UnmarshalGuest parses the options of a guest module that stand in the block of its
// host, among the host's own. kind is what errors call the module, name the token of its
// name, and options are the tokens of its options.
func UnmarshalGuest(d *caddyfile.Dispenser, namespace, kind string, name caddyfile.Token, options []caddyfile.Token) (caddyfile.Unmarshaler, error) {
	info, err := caddy.GetModule(namespace + "." + name.Text)
	if err != nil {
		return nil, d.Errf("unknown %s %q: want one of %s", kind, name.Text, strings.Join(GuestModules(namespace), ", "))
	}
	guest, ok := info.New().(caddyfile.Unmarshaler)
	if !ok {
		return nil, d.Errf("module %s has no Caddyfile options", info.ID)
	}
	tokens := []caddyfile.Token{name}
	if len(options) > 0 {
		opening, closing := name, options[len(options)-1]
		opening.Text, closing.Text = "{", "}"
		closing.Line++
		tokens = append(append(append(tokens, opening), options...), closing)
	}
	return guest, guest.UnmarshalCaddyfile(caddyfile.NewDispenser(tokens))
}
