package differential

import (
	"os"
	"strconv"
)

func seedOf() uint64 {
	n, err := strconv.Atoi(os.Getenv("SEED"))
	if err != nil {
		return 20261121
	}
	return uint64(n)
}
