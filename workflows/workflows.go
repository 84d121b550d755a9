// Package workflows holds what lives in Temporal: the entity workflow of a cluster,
// one workflow for each operation, and the short ones that ask something for a
// person; the messages that they understand, and how long things may take.
//
// It remembers, waits and runs one step after another, and decides nothing: what
// to do next is the result of an activity. It imports the vocabulary and Temporal's
// SDK, and nothing that does I/O.
package workflows
