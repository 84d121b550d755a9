package main

import (
	"time"

	"github.com/flotilla-etcd/flotilla/starter/terminal"
)

// tellEvery is how often a log says how something long stands.
const tellEvery = 5 * time.Second

// teller says on standard error how something stands that takes long: in place on a terminal,
// now and then in a log.
func (a *app) teller() func(string) {
	live := terminal.NewLive(a.err)
	said := time.Now()
	return func(text string) {
		if a.err.Live {
			live.Draw(a.err.Paint(terminal.Dim, text))
			return
		}
		if time.Since(said) >= tellEvery {
			said = time.Now()
			a.say("%s", text)
		}
	}
}
