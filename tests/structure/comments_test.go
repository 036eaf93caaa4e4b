package structure

import (
	"go/ast"
	"go/token"
	"strconv"
	"strings"
	"testing"
)

func TestExportedNamesHaveComments(t *testing.T) {
	var found []string
	for _, f := range goFiles(t) {
		if f.isTest() {
			continue
		}
		missing := func(n ast.Node, what, name string) {
			found = append(found, f.at(n)+": "+what+" "+name+" has no doc comment")
		}
		for _, decl := range f.Decls {
			switch d := decl.(type) {
			case *ast.FuncDecl:
				if receiver := receiverOf(d); d.Name.IsExported() && (receiver == "" || ast.IsExported(receiver)) && d.Doc.Text() == "" {
					missing(d, "func", strings.TrimPrefix(receiver+"."+d.Name.Name, "."))
				}
			case *ast.GenDecl:
				for _, spec := range d.Specs {
					checkSpec(d, spec, missing)
				}
			}
		}
	}
	report(t, found)
}

// checkSpec calls missing for each exported name of a declaration that has no
// comment: of its own, at the end of its line, or of the group that it stands in.
func checkSpec(d *ast.GenDecl, spec ast.Spec, missing func(ast.Node, string, string)) {
	switch s := spec.(type) {
	case *ast.TypeSpec:
		if s.Name.IsExported() && s.Doc.Text() == "" && (d.Lparen.IsValid() || d.Doc.Text() == "") {
			missing(s, "type", s.Name.Name)
		}
	case *ast.ValueSpec:
		for _, name := range s.Names {
			if name.IsExported() && s.Doc.Text()+s.Comment.Text()+d.Doc.Text() == "" {
				missing(s, d.Tok.String(), name.Name)
			}
		}
	}
}

// receiverOf is the name of the type that a method belongs to.
func receiverOf(d *ast.FuncDecl) string {
	if d.Recv == nil {
		return ""
	}
	typ := d.Recv.List[0].Type
	for {
		switch x := typ.(type) {
		case *ast.StarExpr:
			typ = x.X
		case *ast.IndexExpr:
			typ = x.X
		case *ast.IndexListExpr:
			typ = x.X
		case *ast.Ident:
			return x.Name
		default:
			return ""
		}
	}
}

func TestPackagesHaveComments(t *testing.T) {
	documented, where := make(map[string]bool), make(map[string]goFile)
	for _, f := range goFiles(t) {
		// A package of tests alone is documented in one of its tests.
		key := f.dir() + " " + strings.TrimSuffix(f.Name.Name, "_test")
		if old, ok := where[key]; !ok || old.isTest() {
			where[key] = f
		}
		documented[key] = documented[key] || f.Doc.Text() != ""
	}
	var found []string
	for key, f := range where {
		if !documented[key] {
			found = append(found, f.dir()+": package "+f.Name.Name+" has no doc comment")
		}
	}
	report(t, found)
}

// helpWords is how many words a metric's help text has at least.
const helpWords = 2

// TestMetricsHaveHelp checks the help text of each metric: in options, in calls of
// NewDesc, and in calls of the project's own helpers that have a parameter help.
func TestMetricsHaveHelp(t *testing.T) {
	var found []string
	metrics := 0
	helpers := metricHelpers(t)
	for _, f := range goFiles(t) {
		if f.isTest() || strings.HasPrefix(f.path, "tests/") {
			continue
		}
		ast.Inspect(f.File, func(n ast.Node) bool {
			help, ok := helpOf(f, n, helpers)
			if !ok {
				return true
			}
			metrics++
			if text, constant := constantText(help); constant && len(strings.Fields(text)) < helpWords {
				found = append(found, f.at(n)+": a metric has no help text that a stranger understands")
			}
			return true
		})
	}
	if metrics < 40 {
		t.Errorf("only %d metrics are found in the code: does the test know how they are made?", metrics)
	}
	report(t, found)
}

// helpOf is the help text that a node gives to a metric, if the node makes one.
func helpOf(f goFile, n ast.Node, helpers map[string]int) (ast.Expr, bool) {
	switch x := n.(type) {
	case *ast.CompositeLit:
		if !isOpts(x) || field(x, "Name") == nil {
			return nil, false
		}
		if help := field(x, "Help"); help != nil {
			return help, true
		}
		return &ast.BasicLit{Kind: token.STRING, Value: `""`}, true
	case *ast.CallExpr:
		switch fun := x.Fun.(type) {
		case *ast.SelectorExpr:
			if fun.Sel.Name == "NewDesc" && len(x.Args) > 1 {
				return x.Args[1], true
			}
		case *ast.Ident:
			if i, ok := helpers[f.dir()+"."+fun.Name]; ok && i < len(x.Args) {
				return x.Args[i], true
			}
		}
	}
	return nil, false
}

// metricHelpers are functions with a parameter help: its index by directory and
// name.
func metricHelpers(t *testing.T) map[string]int {
	all := make(map[string]int)
	for _, f := range goFiles(t) {
		for _, decl := range f.Decls {
			d, ok := decl.(*ast.FuncDecl)
			if !ok || d.Recv != nil {
				continue
			}
			i := 0
			for _, p := range d.Type.Params.List {
				for _, name := range p.Names {
					if name.Name == "help" {
						all[f.dir()+"."+d.Name.Name] = i
					}
					i++
				}
			}
		}
	}
	return all
}

// isOpts tells whether a literal is of one of Prometheus' types of options.
func isOpts(x *ast.CompositeLit) bool {
	sel, ok := x.Type.(*ast.SelectorExpr)
	return ok && strings.HasSuffix(sel.Sel.Name, "Opts")
}

func field(x *ast.CompositeLit, name string) ast.Expr {
	for _, e := range x.Elts {
		if kv, ok := e.(*ast.KeyValueExpr); ok {
			if key, ok := kv.Key.(*ast.Ident); ok && key.Name == name {
				return kv.Value
			}
		}
	}
	return nil
}

// constantText is the text of a literal or of several that are put together.
func constantText(e ast.Expr) (string, bool) {
	switch x := e.(type) {
	case *ast.BasicLit:
		text, err := strconv.Unquote(x.Value)
		return text, x.Kind == token.STRING && err == nil
	case *ast.BinaryExpr:
		a, okA := constantText(x.X)
		b, okB := constantText(x.Y)
		return a + b, okA && okB
	}
	return "", false
}
