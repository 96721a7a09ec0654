#!/bin/bash
# A worker in shell. It needs curl and jq.
URL=${JOBYARD_URL:-http://127.0.0.1:8080}
TASK=count-in-shell
LEASE_S=15
HEADERS=(-H 'Content-Type: application/json' ${JOBYARD_TOKEN:+-H "Authorization: Bearer $JOBYARD_TOKEN"})

ask() { # METHOD PATH BODY: prints the answer; fails unless it is a 2xx
    curl --silent --fail-with-body --max-time 90 "${HEADERS[@]}" -X "$1" "$URL$2" -d "$3"
}

work() { # your work: the payload on stdin, the result on stdout, both JSON
    sleep "$(jq -r '.seconds // 0')" && echo '{"by": "shell"}'
}

run() { # LEASE: works on one job, and stops when its lease is lost or cancellation was requested
    local job=/api/jobs/$(jq -r .job_id <<<"$1") epoch=$(jq -r .epoch <<<"$1")
    local result=$(mktemp) worker answer extend_at=$((SECONDS + LEASE_S / 3)) cancelled=false
    work <<<"$(jq -c .payload <<<"$1")" >"$result" & worker=$!
    while kill -0 "$worker" 2>/dev/null; do
        sleep 0.2
        [ $SECONDS -lt $extend_at ] && continue
        extend_at=$((SECONDS + LEASE_S / 3))
        answer=$(ask POST "$job/extend" "{\"epoch\": $epoch, \"lease_s\": $LEASE_S}")
        case $answer in
        *'"stop":true'*) echo "lost the lease of $job" >&2 ;;
        *'"cancel_requested":true'*) cancelled=true ;;
        *) continue ;;
        esac
        pkill -P "$worker"
        kill "$worker" 2>/dev/null
    done
    if wait "$worker"; then
        answer=$(jq -n --argjson epoch "$epoch" --slurpfile result "$result" '{epoch: $epoch, result: $result[0]}')
        ask POST "$job/complete" "$answer" >/dev/null
    else
        ask POST "$job/fail" "{\"epoch\": $epoch, \"error\": \"it did not finish\", \"cancelled\": $cancelled}" >/dev/null
    fi
    rm "$result"
}

ask PUT "/api/tasks/$TASK" '{"timeout_s": 300}' >/dev/null || exit 1
wanted=$(jq -n --arg worker "shell $$" --arg task $TASK '{worker: $worker, tasks: [$task], lease_s: 15, wait_s: 30}')
while true; do
    leases=$(ask POST /api/leases "$wanted") || { sleep 2 && continue; }
    while read -r lease; do run "$lease"; done < <(jq -c '.[]' <<<"$leases")
done
