package gateway

import "math/rand/v2"

func randomBelow(n int) int { return rand.IntN(n) }
