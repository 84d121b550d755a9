package keyspace

// ReadWithin is Read with a table of so many slots at most.
var ReadWithin = read
