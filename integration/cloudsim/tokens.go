package cloudsim

// tokenUse is what a client token was used for.
type tokenUse struct {
	fingerprint string
	ids         []string
}

// usedFor gives what was bought with a token before; nil if nothing was. scope is the
// action: tokens of one are not those of another. w.mu is held.
func (w *World) usedFor(scope, token, fingerprint string) ([]string, error) {
	if limit := w.cfg.Limits.TokenChars; limit > 0 && len(token) > limit {
		return nil, refuse(BadToken, token, "a token has at most %d characters", limit)
	}
	for _, c := range []byte(token) {
		if c < ' ' || c > '~' {
			return nil, refuse(BadToken, token, "a token has ASCII characters only")
		}
	}
	if token == "" {
		return nil, nil
	}
	use, ok := w.tokens[scope+"\x00"+token]
	switch {
	case !ok:
		return nil, nil
	case use.fingerprint != fingerprint:
		return nil, refuse(TokenReused, token, "the token was used with other parameters")
	}
	return use.ids, nil
}

// remember notes what a token bought. w.mu is held.
func (w *World) remember(scope, token, fingerprint string, ids []string) {
	if token != "" {
		w.tokens[scope+"\x00"+token] = tokenUse{fingerprint, ids}
	}
}

// Once does something of a face's at most once for a token, and refuses it as usedFor.
// What failed was not done. No token, no memory.
func (w *World) Once(scope, token, fingerprint string, do func() error) error {
	w.once.Lock() // of the same token at the same time, one waits for the other
	defer w.once.Unlock()
	w.mu.Lock()
	ids, err := w.usedFor(scope, token, fingerprint)
	w.mu.Unlock()
	if err != nil || ids != nil {
		return err
	}
	if err := do(); err != nil {
		return err
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	w.remember(scope, token, fingerprint, []string{""})
	return nil
}
