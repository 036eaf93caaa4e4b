package osa

import (
	"fmt"
	"net/http"
	"strconv"

	"github.com/caddyserver/caddy/v2"
	"go.uber.org/zap"
)

func init() { caddy.RegisterModule(adminAPI{}) }

// Where a backup's next version stands: a trailer, since it is known at the end.
const backupVersionTrailer = "Osa-Backup-Version"

// adminAPI adds the store's routes to Caddy's admin endpoint. It holds nothing:
// Caddy makes it before the apps and never cleans it up.
type adminAPI struct{}

// CaddyModule returns the Caddy module information.
func (adminAPI) CaddyModule() caddy.ModuleInfo {
	return caddy.ModuleInfo{ID: "admin.api.osa", New: func() caddy.Module { return adminAPI{} }}
}

// Routes of the admin endpoint:
//
//	GET /osa/backup?since=<version>[&store=<path>]
//
// answers with a backup of the open store, or of what changed in it since that
// version (0, the default, is everything), and with the version to pass next
// time in the trailer Osa-Backup-Version. A stream without that trailer broke
// off. The store goes on taking events meanwhile.
func (adminAPI) Routes() []caddy.AdminRoute {
	return []caddy.AdminRoute{{Pattern: "/osa/backup", Handler: caddy.AdminHandlerFunc(serveBackup)}}
}

func serveBackup(w http.ResponseWriter, r *http.Request) error {
	if r.Method != http.MethodGet {
		return caddy.APIError{HTTPStatus: http.StatusMethodNotAllowed, Err: fmt.Errorf("a backup is read with GET")}
	}
	since := uint64(0)
	if s := r.URL.Query().Get("since"); s != "" {
		var err error
		if since, err = strconv.ParseUint(s, 10, 64); err != nil {
			return caddy.APIError{HTTPStatus: http.StatusBadRequest, Err: fmt.Errorf("since is %q; want a version that a backup gave", s)}
		}
	}
	rt, err := openStore(r.URL.Query().Get("store"))
	if err != nil {
		return err
	}
	rt.uses.Add(1)
	defer rt.done()
	store, err := rt.Log.Store()
	if err != nil {
		return caddy.APIError{HTTPStatus: http.StatusServiceUnavailable, Err: err}
	}
	w.Header().Set("Content-Type", "application/octet-stream")
	w.Header().Set("Trailer", backupVersionTrailer)
	next, err := store.Backup(r.Context(), w, since)
	if err != nil {
		rt.logger.Error("backup broke off", zap.Error(err))
		panic(http.ErrAbortHandler) // the response has begun: cut it, so that nobody takes it for whole
	}
	w.Header().Set(backupVersionTrailer, strconv.FormatUint(next, 10))
	rt.logger.Info("backup sent", zap.Uint64("since", since), zap.Uint64("version", next))
	return nil
}

// openStore finds the open store: the only one, or the one of that key.
func openStore(key string) (*Runtime, error) {
	var found []*Runtime
	runtimes.Range(func(k, v any) bool {
		if rt, ok := v.(*Runtime); ok && (key == "" || k == key) {
			found = append(found, rt)
		}
		return true
	})
	switch len(found) {
	case 1:
		return found[0], nil
	case 0:
		return nil, caddy.APIError{HTTPStatus: http.StatusNotFound, Err: fmt.Errorf("no such store is open")}
	}
	return nil, caddy.APIError{HTTPStatus: http.StatusBadRequest, Err: fmt.Errorf("%d stores are open: name one with store=<path>", len(found))}
}

var _ caddy.AdminRouter = adminAPI{}
