package diagnostics

import (
	"bytes"
	"encoding/json"
	"net/http"
	"strconv"

	"github.com/osa-edge/osa-gateway/modules/osa"
)

// encode writes v as JSON without escaping what only HTML would need escaped.
func encode(v any) ([]byte, error) {
	var buf bytes.Buffer
	e := json.NewEncoder(&buf)
	e.SetEscapeHTML(false)
	if err := e.Encode(v); err != nil {
		return nil, err
	}
	return bytes.TrimRight(buf.Bytes(), "\n"), nil
}

func answer(w http.ResponseWriter, v any) error {
	body, err := encode(v)
	if err != nil {
		return osa.Internal(err).Handler()
	}
	return answerJSON(w, body)
}

func answerJSON(w http.ResponseWriter, body []byte) error {
	h := w.Header()
	h.Set("Content-Type", "application/json")
	h.Set("Cache-Control", "no-store")
	h.Set("Content-Length", strconv.Itoa(len(body)))
	w.WriteHeader(http.StatusOK)
	// Who has left needs no answer.
	_, _ = w.Write(body)
	return nil
}
