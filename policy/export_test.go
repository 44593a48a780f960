package policy

// Remembered counts the answers that are remembered.
func (e *Engine) Remembered() int { return len(e.memo.young) + len(e.memo.old) }

// RememberedBytes is what the memo takes to hold, by its own account.
func (e *Engine) RememberedBytes() int {
	total := 0
	for _, generation := range []map[memoKey][]said{e.memo.young, e.memo.old} {
		for _, s := range generation {
			total += sizeOf(s)
		}
	}
	return total
}

// TakeTurns takes every turn; the function that it returns gives them back.
func (e *Engine) TakeTurns() (back func()) {
	for range cap(e.turns) {
		e.turns <- struct{}{}
	}
	return func() {
		for range cap(e.turns) {
			<-e.turns
		}
	}
}
