# Runs one script on a host, detached from whoever sent it, and leaves what came
# of it in files. Arguments: the command's directory, the limit in whole seconds.
#
# File descriptor 3 is a lock that the sender took and handed down: it is held as
# long as this shell lives, and not by anything that the script leaves behind.

cd "$1" || exit 1
limit=$2

# At most once, whoever starts this and however often.
mkdir started 2>/dev/null || exit 0

# The shell leads a process group; when the limit is over, the group is killed,
# this shell with it. What was in time has then written its exit code before.
# A shell that has just been forked to become the sleep can miss a milder signal.
(
	trap 'kill -s KILL $! 2>/dev/null; exit 0' TERM
	sleep "$limit" &
	wait $!
	mkdir expired && kill -s KILL -- "-$$"
) </dev/null >/dev/null 2>&1 3>&- &
timer=$!

( cd "$FLOTILLA_NODE_ROOT" && exec /bin/sh "$1/script" ) </dev/null >stdout 2>stderr 3>&-
code=$?

kill "$timer" 2>/dev/null
echo "$code" >exit.tmp && mv exit.tmp exit
