#!/bin/bash
# gauges.sh, sourced by bench.sh: what is no ratio of times. Memory, and how the cost of a lookup grows.
# shellcheck disable=SC2154 # shared with bench.sh

# Private memory of a process in KiB, clean and dirty.
private_kib() { awk '/^Private_(Clean|Dirty):/ { sum += $2 } END { print sum + 0 }' "/proc/$1/smaps_rollup"; }

median_of() { sort -n | awk '{ v[NR] = $1 } END { print NR ? v[int((NR + 1) / 2)] : -1 }'; }

# Starts the idle processes under a variant and waits until all have asked and sleep; sets `idle_pids`.
start_idlers() {
    local v=$1 text i
    fresh "$v" || return 1
    command_line "$v" stat
    # Stats enough that each of them has its shim.
    text="i=0; while [ \$i -lt $idlers ]; do \"\$TOOLS/work\" idle \"\$M/tree\" $files 3000 & i=\$((i+1)); done; wait"
    run[-1]=$text
    : >"$results/ready"
    "${run[@]}" >"$results/ready" 2>>"$results/errors" </dev/null &
    idle_job=$!
    for ((i = 0; i < 300; i++)); do
        (($(wc -l <"$results/ready") < idlers)) || break
        sleep 0.1
    done
    mapfile -t idle_pids < <(pgrep -f "^$tools/work idle $(mount_of "$v")/tree ")
    ((${#idle_pids[@]} == idlers))
}

stop_idlers() {
    ((${#idle_pids[@]} == 0)) || kill "${idle_pids[@]}" 2>/dev/null || true
    wait "$idle_job" 2>/dev/null || true
}

# Sets memory_native and memory_hybrid (median, KiB) and memory_supervisor (KiB), where they can be had.
measure_memory() {
    local v pid supervisor
    prepare_row memory
    memory_native=-1 memory_hybrid=-1 memory_supervisor=-1
    for v in native hybrid; do
        idle_pids=()
        if start_idlers "$v"; then
            printf -v "memory_$v" %s "$(for pid in "${idle_pids[@]}"; do private_kib "$pid"; done | median_of)"
            supervisor=$(awk '/^TracerPid:/ { print $2 }' "/proc/${idle_pids[0]}/status")
            [[ $supervisor == 0 ]] || memory_supervisor=$(awk '/^VmRSS:/ { print $2 }' "/proc/$supervisor/status")
        else
            note "memory: $v: ${#idle_pids[@]} of $idlers processes came up"
        fi
        stop_idlers
    done
    note "memory: native $memory_native KiB, hybrid $memory_hybrid KiB, supervisor $memory_supervisor KiB"
}

# gauge TITLE VALUE BAR UNIT: one line of the second table; a value below zero was not measured.
gauge() {
    local says=pass
    if [[ $2 == -1 ]]; then
        echo "| $1 | not measured | $3 $4 | - |"
        gauges_missed=1
        return
    fi
    if awk -v "a=$2" -v "b=$3" 'BEGIN { exit !(a > b) }'; then
        says=short
        gauges_missed=1
    fi
    echo "| $1 | $2 $4 | $3 $4 | $says |"
}

# growth VARIANT ROW ROW: how much longer the second takes, by the CPU time of the cheapest run of each.
growth() {
    [[ -s $results/$2.$1 && -s $results/$3.$1 ]] || { echo -1 && return; }
    awk '$3 != 0 { bad = 1 } FNR == NR { if (!a || $2 < a) a = $2; next } !b || $2 < b { b = $2 }
        END { if (bad || !a || !b) print -1; else printf "%.2f\n", b / a }' "$results/$2.$1" "$results/$3.$1"
}

measured() { [[ " ${rows[*]} " == *" $1 "* ]]; }

write_gauges() {
    local n before v gauges_missed=0
    printf '\n| measure | value | bar | verdict |\n|---|---|---|---|\n'
    if measured memory; then
        local added=-1
        ((memory_native < 0 || memory_hybrid < 0)) || added=$((memory_hybrid - memory_native))
        gauge "private memory added per idle process, median of $idlers" "$added" 300 KiB
        gauge "supervisor (resident) with $idlers processes" "$memory_supervisor" 20480 KiB
    fi
    # At most linear in layers; overlayfs is named beside it.
    for n in 5 20 60; do
        if ! measured layers-1 || ! measured "layers-$n"; then continue; fi
        for v in hybrid overlayfs; do
            before=$(growth "$v" layers-1 "layers-$n")
            if [[ $v == hybrid ]]; then
                gauge "a stat, $n layers against 1, $v" "$before" "$n" times
            else
                echo "| the same, $v | $before times | - | - |"
            fi
        done
    done
    # What a larger directory costs anyway (names of it in the caches) is taken out: native grows too.
    for n in 1000 100000; do
        if ! measured wide-10 || ! measured "wide-$n"; then continue; fi
        for v in hybrid overlayfs; do
            before=$(growth native wide-10 "wide-$n")
            before=$(awk -v "a=$(growth "$v" wide-10 "wide-$n")" -v "b=$before" \
                'BEGIN { if (a < 0 || b <= 0) print -1; else printf "%.2f\n", a / b }')
            if [[ $v == hybrid ]]; then
                gauge "a stat, a directory of $n against 10, beyond native's growth, $v" "$before" 1.20 times
            else
                echo "| the same, $v | $before times | - | - |"
            fi
        done
    done
    return "$gauges_missed"
}
