package osa

import (
	"slices"
	"strings"
)

// DescribeSetting names a setting for an error the way the operator set it:
// where its value is a placeholder, with the variable or file that it names.
func DescribeSetting(name, value string) string {
	if env, ok := placeholderKey(value, "{env."); ok {
		return name + " (environment variable " + env + ")"
	}
	if file, ok := placeholderKey(value, "{file."); ok {
		return name + " (file " + file + ", which may be missing or unreadable)"
	}
	return name
}

func placeholderKey(value, prefix string) (string, bool) {
	rest, ok := strings.CutPrefix(value, prefix)
	if !ok {
		return "", false
	}
	key, tail, ok := strings.Cut(rest, "}")
	return key, ok && tail == ""
}

// FilesIn are the files that placeholders such as {file./run/secrets/opal} in the
// values name.
func FilesIn(values ...string) (files []string) {
	for _, value := range values {
		for {
			_, rest, found := strings.Cut(value, "{file.")
			file, tail, ended := strings.Cut(rest, "}")
			if !found || !ended {
				break
			}
			if !slices.Contains(files, file) {
				files = append(files, file)
			}
			value = tail
		}
	}
	return files
}
