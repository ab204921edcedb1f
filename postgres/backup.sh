#!/bin/sh
# The `backup` service of docker-compose.yml: back up at each time of BACKUP_SCHEDULE, and remove old backups.
#
#     sh backup.sh          wait for the next time, back up, rotate; repeat
#     sh backup.sh once     back up now, rotate, and report the result
#     sh backup.sh health   check that the newest backup exists and is recent enough
#
# Each backup is a folder in the format of `db_utils backup` (database.dump, roles.json, manifest.json), so `db_utils
# restore` can verify and restore it. It is written under a hidden name, and renamed once it is complete.
set -u

. "${0%/*}/common.sh"
backups=/var/lib/postgresql/data
failed=$backups/.failed
queries=$sql/backup

PGPASSWORD=$(password) || exit 1
export PGPASSWORD

say() { echo "barnameh backup: $*"; }

# Seconds until the next backup: HH:MM is a daily time in UTC, 6h or 30m an interval.
seconds_to_wait() {
    case $BACKUP_SCHEDULE in
        [0-2][0-9]:[0-5][0-9])
            hours=${BACKUP_SCHEDULE%:*} minutes=${BACKUP_SCHEDULE#*:}
            at=$((${hours#0} * 3600 + ${minutes#0} * 60))
            echo $(((at - $(date +%s) % 86400 + 86399) % 86400 + 1))
            ;;
        *h) echo $((${BACKUP_SCHEDULE%h} * 3600)) ;;
        *m) echo $((${BACKUP_SCHEDULE%m} * 60)) ;;
    esac
}

check_settings() {
    case $BACKUP_SCHEDULE in
        [01][0-9]:[0-5][0-9] | 2[0-3]:[0-5][0-9]) ;;
        [1-9]h | [1-9][0-9]h | [1-9]m | [1-9][0-9]m | [1-9][0-9][0-9]m) ;;
        *) say "BACKUP_SCHEDULE is '$BACKUP_SCHEDULE'. Set it to HH:MM (UTC) or an interval such as 6h or 30m."; exit 2 ;;
    esac
    for number in "$BACKUP_KEEP_DAYS" "$BACKUP_KEEP_COUNT" "$BACKUP_MAX_AGE_HOURS"; do
        case $number in
            '' | *[!0-9]* | 0) say "BACKUP_KEEP_DAYS, BACKUP_KEEP_COUNT and BACKUP_MAX_AGE_HOURS must be positive integers."; exit 2 ;;
        esac
    done
}

# Names sort by time, oldest first.
complete() { find "$backups" -mindepth 2 -maxdepth 2 -name manifest.json | sed 's|/manifest.json$||' | sort; }

back_up() (
    set -e
    umask 077
    exec 9>"$backups/.lock"
    flock 9 # one at a time
    name=$(printf %s "$PGDATABASE" | tr / _)-$(date -u +%Y%m%dT%H%M%SZ)
    export PARTIAL="$backups/.$name.partial"
    rm -rf "$backups"/.*.partial # of a backup that was killed
    mkdir "$PARTIAL"
    trap 'rm -rf "$PARTIAL"' EXIT
    # A single transaction: pg_dump and the row counts use the same snapshot.
    psql -X -q --no-password -v ON_ERROR_STOP=1 -v folder="$PARTIAL" <<SQL
\i $queries/snapshot.sql
\setenv SNAPSHOT :snapshot
\! pg_dump --format=custom --no-password --snapshot="\$SNAPSHOT" --file="\$PARTIAL/database.dump" && touch "\$PARTIAL/dumped"
\cd :folder
\o roles.json
\i $queries/roles.sql
\o contents
\i $queries/contents.sql
\o
SQL
    cd "$PARTIAL"
    rm dumped 2>/dev/null || { say "pg_dump failed"; exit 1; }
    id=$(cat /proc/sys/kernel/random/uuid)
    {
        printf '{\n"backup_id": "%s",\n"format": 1,\n"made_by": "postgres/backup.sh",\n"key": null,\n"signature": null,\n' "$id"
        printf '"dump": %s,\n"roles": %s,\n' "$(described database.dump)" "$(described roles.json)"
        printf '"database": %s,\n"tables": [\n' "$(head -n 1 contents)"
        tail -n +2 contents | sed '$!s/$/,/'
        printf ']\n}\n'
    } >manifest.json
    taken_at=$(sed -n '1s/.*"taken_at" : "\([^"]*\)".*/\1/p' contents)
    rm contents
    sync
    while [ -e "$backups/$name" ]; do
        name=${name}x # another one of the same second
    done
    mv "$PARTIAL" "$backups/$name"
    trap - EXIT
    cd "$backups/$name"
    size=$(wc -c <database.dump | tr -d ' ') sum=$(sha256sum database.dump | cut -d ' ' -f 1)
    psql -X -q --no-password -v ON_ERROR_STOP=1 -v id="$id" -v at="$taken_at" -v location="backup service:$backups/$name" \
        -v size="$size" -v sum="$sum" <<'SQL' || say "could not record it in backup_runs"
INSERT INTO backup_runs (backup_id, started_at, location, size_bytes, sha256, is_encrypted)
VALUES (:'id', :'at', :'location', :size, :'sum', false);
SQL
    say "$name is complete: $size bytes"
)

described() {
    printf '{"file": "%s", "size_bytes": %s, "sha256": "%s"}' "$1" "$(wc -c <"$1" | tr -d ' ')" "$(sha256sum "$1" | cut -d ' ' -f 1)"
}

# Remove backups older than BACKUP_KEEP_DAYS, but always keep the newest BACKUP_KEEP_COUNT.
rotate() {
    complete | head -n "-$BACKUP_KEEP_COUNT" | while read -r folder; do
        if [ -n "$(find "$folder/manifest.json" -mmin "+$((BACKUP_KEEP_DAYS * 1440))")" ]; then
            rm -rf "$folder" && say "$(basename "$folder") was older than $BACKUP_KEEP_DAYS days: removed"
        fi
    done
}

run_once() {
    if back_up; then
        rm -f "$failed"
        rotate
    else
        date -u '+%Y-%m-%dT%H:%M:%SZ' >"$failed"
        say "THE BACKUP FAILED; see the reason above"
        return 1
    fi
}

# Wait during the first backup instead of failing, for less than the timeout of the health check.
health() {
    give_up=$(($(date +%s) + 540))
    while [ ! -e "$failed" ] && [ -z "$(complete)" ] && [ "$(date +%s)" -lt "$give_up" ]; do
        sleep 1
    done
    if [ -e "$failed" ]; then
        say "the backup of $(cat "$failed") failed: docker compose logs backup"
        exit 1
    fi
    newest=$(complete | tail -n 1)
    if [ -z "$newest" ]; then
        say "there is no backup yet"
        exit 1
    fi
    if [ -n "$(find "$newest/manifest.json" -mmin "+$((BACKUP_MAX_AGE_HOURS * 60))")" ]; then
        say "the newest backup, $(basename "$newest"), is older than $BACKUP_MAX_AGE_HOURS hours"
        exit 1
    fi
    say "$(basename "$newest") is the newest of $(complete | wc -l | tr -d ' ')"
}

check_settings
case ${1:-} in
    health) health ;;
    once) run_once ;;
    *)
        trap 'exit 0' INT TERM
        # The first backup runs immediately, so that configuration errors show up now rather than at night.
        if [ -z "$(complete)" ] || [ -e "$failed" ]; then run_once; fi
        while :; do
            sleep "$(seconds_to_wait)" &
            wait "$!"
            run_once
        done
        ;;
esac
