package diag

// nearestMax is the longest name that Nearest compares.
const nearestMax = 64

// Nearest returns the candidate that differs from name by the fewest typing
// errors (a byte too much, too few or another, or two neighbours exchanged), or
// "" when none differs by so few that it is a plausible typing error: one, or a
// third of the name. Of several it is the first.
func Nearest(name string, candidates []string) string {
	best, limit := "", max(1, len(name)/3)+1
	if len(name) > nearestMax {
		return ""
	}
	var rows [3][nearestMax + 1]int
	for _, c := range candidates {
		if c == "" || len(c) > nearestMax || max(len(c)-len(name), len(name)-len(c)) >= limit {
			continue
		}
		if d := distance(name, c, &rows); d < limit {
			best, limit = c, d
		}
	}
	return best
}

// distance counts typing errors (optimal string alignment distance). The rows
// are working space.
func distance(a, b string, rows *[3][nearestMax + 1]int) int {
	before, previous, current := &rows[0], &rows[1], &rows[2]
	for j := range len(b) + 1 {
		previous[j] = j
	}
	for i := 1; i <= len(a); i++ {
		current[0] = i
		for j := 1; j <= len(b); j++ {
			cost := 1
			if a[i-1] == b[j-1] {
				cost = 0
			}
			current[j] = min(previous[j]+1, current[j-1]+1, previous[j-1]+cost)
			if i > 1 && j > 1 && a[i-1] == b[j-2] && a[i-2] == b[j-1] {
				current[j] = min(current[j], before[j-2]+1)
			}
		}
		before, previous, current = previous, current, before
	}
	return previous[len(b)]
}
