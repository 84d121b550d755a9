d="${FLOTILLA_NODE_ROOT-}/var/lib/flotilla/commands"
(umask 077; mkdir -p "$d") || exit 1
find "$d" -mindepth 1 -maxdepth 1 -mtime +1 -exec rmdir {} + 2>/dev/null
if ! mkdir "$d/TOKEN" 2>/dev/null; then
	if test -d "$d/TOKEN"; then
		echo "REPEATED" >&2
		exit CODE
	fi
	exit 1
fi
