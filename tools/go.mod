module github.com/flotilla-etcd/flotilla/tools

go 1.26.0
