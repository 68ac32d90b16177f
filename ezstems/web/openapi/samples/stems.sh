KEY='YOUR_API_KEY'
FILE='song.mp3'
API='http://127.0.0.1:8000/api/v1'

call() { curl -sS -H "Authorization: Bearer $KEY" "$@"; }

JOB=$(call -F "file=@\"$FILE\"" -F stems=4 "$API/upload.php")
echo "$JOB"
ID=$(echo "$JOB" | sed -n 's/.*"id": *"\([^"]*\)".*/\1/p')

# The server answers when the job ends, or after 50 seconds; or at once, and says when to ask again.
PAUSE=0
ASKED=0
while echo "$JOB" | grep -Eq '"status": *"(queued|processing)"'; do
    sleep $PAUSE
    ANSWER=$(call -i -H 'Prefer: wait=50' "$API/status.php?id=$ID" | tr -d '\r')
    JOB=$(echo "$ANSWER" | sed '1,/^$/d')
    echo "$JOB"
    ASKED=$((ASKED < 10 ? ASKED + 1 : 10))
    PAUSE=$(echo "$ANSWER" | sed -n 's/^[Rr]etry-[Aa]fter: *//p')
    PAUSE=${PAUSE:-$ASKED}
    echo "$ANSWER" | grep -qi '^preference-applied:' && PAUSE=0
done

echo "$JOB" | grep -q '"status": *"completed"' && call -f -o stems.zip "$API/download.php?id=$ID"
