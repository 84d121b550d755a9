d=$(mktemp -d) || exit 1
trap 'rm -rf "$d"' EXIT
cat >"$d/script" <<'END'
SCRIPT
END
/bin/sh "$d/script" >"$d/out" 2>"$d/err"
code=$?
head -c STDOUT "$d/out" >"$d/o"
echo "MARK $(($(wc -c <"$d/o")))"
cat "$d/o"
head -c STDERR "$d/err"
exit $code
