KEY='YOUR_API_KEY'
FILE='song.mp3'
API='http://127.0.0.1:8000/api/v1'

call() { curl -sS -H "Authorization: Bearer $KEY" "$@"; }

JOB=$(call -F "file=@\"$FILE\"" -F stems=4 "$API/upload.php")
echo "$JOB"
ID=$(echo "$JOB" | sed -n 's/.*"id": *"\([^"]*\)".*/\1/p')

WAIT=1
while echo "$JOB" | grep -Eq '"status": *"(queued|processing)"'; do
    sleep $WAIT
    WAIT=$((WAIT < 10 ? WAIT + 1 : 10))
    JOB=$(call "$API/status.php?id=$ID")
    echo "$JOB"
done

echo "$JOB" | grep -q '"status": *"completed"' && call -f -o stems.zip "$API/download.php?id=$ID"
