#!/usr/bin/env bash
# AWS CLI: cp, ls, sync --delete both ways, presign, mv, rm, rb --force. $1: a bucket that does not exist, $2: an empty folder.
set -euo pipefail
bucket=$1 dir=$2
export AWS_PAGER=
fail() { echo "aws_s3: $*" >&2; exit 1; }
same() { [ "$1" = "$2" ] || fail "wanted '$2', got '$1'"; }

aws s3 mb "s3://$bucket" >/dev/null
mkdir -p "$dir/up/deep/er" "$dir/down"
printf one >"$dir/up/a-b.txt"
printf two >"$dir/up/a.txt"
printf three >"$dir/up/deep/er/c d.txt"
printf four >"$dir/up/deep.txt"
head -c 20000000 /dev/urandom >"$dir/up/large.bin"

# cp, with what standard input holds too; a large one goes up in parts
aws s3 cp --only-show-errors "$dir/up/large.bin" "s3://$bucket/large.bin" --metadata who=me --content-type text/x-mine
same "$(aws s3api head-object --bucket "$bucket" --key large.bin --query '[ContentType,Metadata.who,ContentLength]' --output text)" \
    "$(printf 'text/x-mine\tme\t20000000')"
aws s3 cp --only-show-errors "s3://$bucket/large.bin" "$dir/large.bin"
cmp "$dir/large.bin" "$dir/up/large.bin"
printf piped | aws s3 cp --only-show-errors - "s3://$bucket/piped.txt"
same "$(aws s3 cp "s3://$bucket/piped.txt" -)" piped
# from key to key: in parts (where this CLI leaves metadata behind), and in one request
aws s3 cp --only-show-errors "s3://$bucket/large.bin" "s3://$bucket/copies/large.bin"
same "$(aws s3api head-object --bucket "$bucket" --key copies/large.bin --query ContentLength --output text)" 20000000
aws s3 cp --only-show-errors "$dir/up/a.txt" "s3://$bucket/marked" --metadata who=me
aws s3 cp --only-show-errors "s3://$bucket/marked" "s3://$bucket/copies/marked"
same "$(aws s3api head-object --bucket "$bucket" --key copies/marked --query Metadata.who --output text)" me
if aws s3 cp "s3://$bucket/none" "$dir/none" 2>"$dir/error"; then fail "a missing object was copied"; fi
grep -q '404' "$dir/error" || fail "$(cat "$dir/error")"

# sync up: the second time nothing is to do; what is gone here goes there
aws s3 sync --only-show-errors --delete "$dir/up" "s3://$bucket/tree"
same "$(aws s3 sync --delete "$dir/up" "s3://$bucket/tree")" ""
rm "$dir/up/a.txt"
printf changed! >"$dir/up/deep.txt"
aws s3 sync --delete "$dir/up" "s3://$bucket/tree" | tr '\r' '\n' | grep -oE '^(upload|delete): [^ ]+' | sed "s#$dir/##" | sort >"$dir/did"
same "$(wc -l <"$dir/did" | tr -d ' ')" 2
grep -q "^delete: s3://$bucket/tree/a.txt" "$dir/did" || fail "$(cat "$dir/did")"
# and down
aws s3 sync --only-show-errors --delete "s3://$bucket/tree" "$dir/down"
diff -r "$dir/up" "$dir/down"
same "$(aws s3 sync --delete "s3://$bucket/tree" "$dir/down")" ""
aws s3 rm --only-show-errors "s3://$bucket/tree/a-b.txt"
aws s3 sync --only-show-errors --delete "s3://$bucket/tree" "$dir/down"
[ ! -e "$dir/down/a-b.txt" ] || fail "sync --delete left a file"
# and from prefix to prefix
aws s3 sync --only-show-errors "s3://$bucket/tree" "s3://$bucket/other"

# ls, by folder and recursively
same "$(aws s3 ls "s3://$bucket/tree/" | awk '{print $NF}' | tr '\n' ' ')" "deep/ deep.txt large.bin "
same "$(aws s3 ls --recursive --summarize "s3://$bucket/other/" | awk '/Total Objects/ {print $3}')" 3
aws s3 ls >"$dir/buckets" # not into a pipe: grep -q would close it before all is written
grep -q " $bucket\$" "$dir/buckets" || fail "the bucket is not listed"
if aws s3 ls "s3://$bucket/nothing/" >/dev/null; then fail "an empty listing succeeded"; fi

# a presigned URL works for anybody, and not when it is altered
url=$(aws s3 presign "s3://$bucket/piped.txt" --expires-in 60)
same "$(curl --noproxy '*' -sS "$url")" piped
same "$(curl --noproxy '*' -sS -o /dev/null -w '%{http_code}' "${url/piped/large}")" 403
url=$(AWS_CONFIG_FILE=$dir/config; printf '[default]\ns3 =\n  signature_version = s3v4\n' >"$dir/config"; export AWS_CONFIG_FILE
    aws s3 presign "s3://$bucket/piped.txt" --expires-in 60)
case $url in *X-Amz-Signature*) ;; *) fail "not signed with v4: $url" ;; esac
same "$(curl --noproxy '*' -sS -r 1-3 "$url")" ipe

# mv, rm --recursive, rb
aws s3 mv --only-show-errors "s3://$bucket/piped.txt" "s3://$bucket/moved.txt"
same "$(aws s3 cp "s3://$bucket/moved.txt" -)" piped
aws s3 rm --only-show-errors --recursive "s3://$bucket/other"
if aws s3 rb "s3://$bucket" 2>"$dir/error"; then fail "a bucket with objects was removed"; fi
grep -q BucketNotEmpty "$dir/error" || fail "$(cat "$dir/error")"
aws s3 rb --force "s3://$bucket" >/dev/null
if aws s3 ls "s3://$bucket" 2>"$dir/error"; then fail "the bucket is still there"; fi
grep -q NoSuchBucket "$dir/error" || fail "$(cat "$dir/error")"
