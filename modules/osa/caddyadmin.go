package osa

import (
	"errors"
	"fmt"
	"net/http"
	"strings"

	"github.com/caddyserver/caddy/v2"
	"go.uber.org/zap"

	"github.com/osa-edge/osa-gateway/storage"
)

func init() { caddy.RegisterModule(adminAPI{}) }

// Where the point stands that the next backup goes on from: a trailer, since it
// is known at the end.
const backupNextTrailer = "Osa-Backup-Next"

// adminAPI adds the store's routes to Caddy's admin endpoint. It holds nothing:
// Caddy makes it before the apps and never cleans it up.
type adminAPI struct{}

// CaddyModule returns the Caddy module information.
func (adminAPI) CaddyModule() caddy.ModuleInfo {
	return caddy.ModuleInfo{ID: "admin.api.osa", New: func() caddy.Module { return adminAPI{} }}
}

// Routes of the admin endpoint:
//
//	GET /osa/backup[?since=<point>][&store=<path>]
//
// answers with a backup of the open store, or of what changed in it since that
// point, and with the point to pass next time in the trailer Osa-Backup-Next. A
// stream without that trailer broke off. A point that is none of this store's is
// 409. The store goes on taking events meanwhile.
func (adminAPI) Routes() []caddy.AdminRoute {
	return []caddy.AdminRoute{{Pattern: "/osa/backup", Handler: caddy.AdminHandlerFunc(serveBackup)}}
}

func serveBackup(w http.ResponseWriter, r *http.Request) error {
	if r.Method != http.MethodGet {
		return caddy.APIError{HTTPStatus: http.StatusMethodNotAllowed, Err: fmt.Errorf("a backup is read with GET")}
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
	w.Header().Set("Trailer", backupNextTrailer)
	since := r.URL.Query().Get("since")
	out, err := newBackupWriter(r.Context(), w, rt.Bulk)
	if err != nil {
		return caddy.APIError{HTTPStatus: http.StatusServiceUnavailable, Err: err}
	}
	defer out.close()
	next, err := store.Backup(r.Context(), out, since)
	if err == nil {
		err = out.flush()
	}
	if errors.Is(err, storage.ErrBackupPosition) {
		w.Header().Del("Trailer")
		return caddy.APIError{HTTPStatus: http.StatusConflict, Err: err}
	}
	if err != nil {
		rt.logger.Error("backup broke off", zap.Error(err))
		panic(http.ErrAbortHandler) // the response has begun: cut it, so that nobody takes it for whole
	}
	w.Header().Set(backupNextTrailer, next)
	rt.logger.Info("backup sent", zap.String("since", since), zap.String("next", next))
	return nil
}

// openStore finds the open store: the only one, or the one of that key.
func openStore(key string) (*Runtime, error) {
	var found []*Runtime
	var names []string
	for _, rt := range openRuntimes() {
		names = append(names, rt.key)
		if key == "" || rt.key == key {
			found = append(found, rt)
		}
	}
	switch len(found) {
	case 1:
		return found[0], nil
	case 0:
		return nil, caddy.APIError{HTTPStatus: http.StatusNotFound, Err: fmt.Errorf("no such store is open; open are: %s", strings.Join(names, ", "))}
	}
	return nil, caddy.APIError{HTTPStatus: http.StatusBadRequest, Err: fmt.Errorf("%d stores are open, name one with store=<path>: %s", len(found), strings.Join(names, ", "))}
}

var _ caddy.AdminRouter = adminAPI{}
