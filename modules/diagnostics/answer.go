package diagnostics

import (
	"bytes"
	"encoding/json"
	"net/http"

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
	osa.WriteJSON(w, http.StatusOK, body)
	return nil
}
