# Sums what `gcov -n` says of each file of core/; fails under `least` percent.
/^File / { name = $2; gsub(/'/, "", name) }
/^Lines executed:/ && name ~ /^core\/.*\.c$/ {
    split($2, parts, /[:%]/)
    printf "%-24s %6.2f %% of %d lines\n", name, parts[2], $4
    reached += parts[2] * $4 / 100
    lines += $4
    name = ""
}
END {
    share = lines ? 100 * reached / lines : 0
    printf "%-24s %6.2f %% of %d lines, at least %d %% asked\n", "core", share, lines, least
    exit share < least
}
