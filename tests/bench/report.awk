# Turns the results of bench.sh into a Markdown table and checks the bars.
# In: lines "row<TAB>title<TAB>hybrid's bar, as a ratio to native, or -"; files DIR/ROW.VARIANT with
# lines "wall cpu status"; DIR/ROW.why says why a row could not be measured.
# A cell is wall/native (cpu/native): the median of the ratios within each round, whose runs lie next
# to each other in time. Exit status 1 where a bar is missed or a run failed.

function median(list, n,    i, j, t) {
    for (i = 2; i <= n; i++) {
        t = list[i]
        for (j = i - 1; j > 0 && list[j] > t; j--)
            list[j + 1] = list[j]
        list[j + 1] = t
    }
    return n % 2 ? list[(n + 1) / 2] : (list[n / 2] + list[n / 2 + 1]) / 2
}

# Reads one result file into wall[v], cpu[v], state[v] ("", "failed" or "-").
function load(row, v,    file, line, part, n, w, c, bad, k) {
    file = dir "/" row "." v
    n = bad = 0
    while ((getline line < file) > 0) {
        split(line, part, " ")
        n++
        w[n] = part[1]
        c[n] = part[2]
        if (part[3] != 0)
            bad = 1
    }
    close(file)
    state[v] = n == 0 ? "-" : bad ? "failed" : ""
    rounds[v] = n
    for (k = 1; k <= n; k++) {
        wall_of[v, k] = w[k]
        cpu_of[v, k] = c[k] > 0.0005 ? c[k] : 0.0005
    }
    if (n) {
        wall[v] = median(w, n)
        cpu[v] = median(c, n)
    }
    delete w
    delete c
}

# Median over the rounds of v / base; which is "wall" or "cpu".
function ratio_to(v, base, which,    n, i, list) {
    n = rounds[v] < rounds[base] ? rounds[v] : rounds[base]
    for (i = 1; i <= n; i++)
        list[i] = which == "wall" ? wall_of[v, i] / wall_of[base, i] : cpu_of[v, i] / cpu_of[base, i]
    return median(list, n)
}

function cell(v) {
    if (state[v] != "")
        return state[v]
    if (v == "native")
        return sprintf("%.0f ms (%.0f)", wall[v] * 1000, cpu[v] * 1000)
    return sprintf("%.2f (%.2f)", ratio_to(v, "native", "wall"), ratio_to(v, "native", "cpu"))
}

# The verdict on one of our variants against a limit, as a ratio to `base`.
function verdict(v, base, limit,    ratio, ok) {
    if ((v in state) && state[v] == "failed") {
        missed = 1
        return "failed"
    }
    if (limit == "-" || !(v in state) || !(base in state) || state[v] != "" || state[base] != "")
        return "-"
    ratio = ratio_to(v, base, "wall")
    ok = ratio <= limit
    if (!ok)
        missed = 1
    return sprintf("%s: %.2f of %s (cpu %.2f), bar %.2f", ok ? "pass" : "short", ratio, base,
                   ratio_to(v, base, "cpu"), limit)
}

# ptrace: data within 1.05 of native, the rest within 1.6 of the floor.
function ptrace_verdict(row) {
    if (row == "read" || row == "write")
        return verdict("ptrace", "native", 1.05)
    return verdict("ptrace", "floor", 1.60)
}

BEGIN {
    FS = "\t"
    count = split(variants, name, " ")
    printf "| row |"
    for (i = 1; i <= count; i++)
        printf " %s |", name[i]
    print " rounds | bar, ptrace | bar, hybrid |"
    printf "|---|"
    for (i = 1; i <= count + 3; i++)
        printf "---|"
    print ""
}

{
    for (i = 1; i <= count; i++)
        load($1, name[i])
    printf "| %s |", $2
    if (state["native"] != "") {
        missed = 1
        why = ""
        getline why < (dir "/" $1 ".why")
        for (i = 1; i <= count; i++)
            printf " - |"
        printf " 0 | not measured | not measured: %s |\n", why == "" ? "the plain run failed" : why
        next
    }
    for (i = 1; i <= count; i++)
        printf " %s |", cell(name[i])
    printf " %d | %s | %s |\n", rounds["native"], ptrace_verdict($1), verdict("hybrid", "native", $3)
}

END { exit missed }
