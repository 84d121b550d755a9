// Package fleet is the vocabulary of Flotilla: what a cluster should be (Spec),
// what it is (Observation), what is being done to it (Operation, Step, Progress)
// and what can go wrong (Error). It holds validation and defaults.
//
// It is pure: it imports nothing of ours and does no I/O, so that the planner,
// the workflows and every face can share it.
package fleet
