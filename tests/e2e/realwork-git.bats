# git over layers: the repository lies in a lower, all work lands in the upper.
# runs: light
load ../lib/fuss

fixture() {
    RUN_TIMEOUT=120
    local repo=$L2/repo i
    mkdir "$repo"
    (
        export HOME=$T/home
        cd "$repo" || exit
        git init -q -b main .
        for i in $(seq 150); do mk "dir$((i % 12))/file$i.txt" "content $i"; done
        ln -s dir1 link && printf '#!/bin/sh\n' >run && chmod +x run
        git add -A && commit first
        git switch -q -c side
        git mv dir1 renamed && git rm -q -r dir2 && echo side >dir3/new && git add -A && commit side
        git switch -q main
        echo main >>dir4/file4.txt && git add -A && commit second
    )
}

commit() {
    git -c user.name=T -c user.email=t@example.invalid -c commit.gpgsign=false commit -q -m "$1" \
        --date='2020-01-01T00:00:00Z'
}

PREFIX='export HOME=$T/home GIT_AUTHOR_NAME=T GIT_AUTHOR_EMAIL=t@example.invalid \
    GIT_COMMITTER_NAME=T GIT_COMMITTER_EMAIL=t@example.invalid \
    GIT_AUTHOR_DATE=2020-01-01T00:00:00Z GIT_COMMITTER_DATE=2020-01-01T00:00:00Z GIT_PAGER=cat \
    GIT_TERMINAL_PROMPT=0 GIT_CONFIG_NOSYSTEM=1; set -e; cd repo; '

# The same script in the union and in a plain copy must print the same.
both() {
    cp -a "$L2" "$T/home/plain"
    [ "$E2E_USER" = root ] || [ "$(id -u)" != 0 ] || chown -hR "$E2E_USER_NAME:" "$T/home/plain"
    as_user
    want=$(cd "$T/home/plain" && "${AS[@]}" env T="$T" bash -c "$PREFIX $1" 2>&1 3>&-)
    got=$(sh_in "$PREFIX $1" 2>&1)
    is "$got" "$want" "in the union (got) and in a plain copy (want)"
}

@test "status and diff of a clean lower are clean" {
    both 'git status --porcelain; git diff --stat; git log --oneline --all | wc -l'
}

@test "switch, edit, commit, merge, status" {
    both 'git switch -q side; ls; git status --porcelain; cat dir3/new
        git switch -q main; echo edit >>dir5/file5.txt; rm dir6/file6.txt; git status --porcelain
        git add -A; git commit -q -m edit; git merge -q -m merge side; git status --porcelain
        git log --format="%s %T"; git ls-files | sha1sum; git fsck --no-progress'
}

@test "branches, checkout of old states, stash, reset, clean" {
    both 'git checkout -q HEAD~1; cat dir4/file4.txt; git checkout -q main; echo x >>run
        git stash -q; git status --porcelain; git stash pop -q; git status --porcelain
        git reset -q --hard; touch junk; git clean -fdq; git status --porcelain
        git branch -m side2 2>/dev/null || true; git branch'
}

@test "gc, then everything is still there" {
    both 'git gc -q; git status --porcelain; git fsck --no-progress; git log --format=%T --all | sort
        git switch -q side; git status --porcelain; ls | tr "\n" " "'
}

@test "clone into the union and work in the clone" {
    both 'git clone -q . ../clone 2>/dev/null; cd ../clone; git switch -q side; echo 1 >n; git add n
        git commit -q -m clone; git push -q origin side:pushed 2>/dev/null; cd ../repo
        git log --format=%T pushed; git status --porcelain'
}

@test "worktree and rebase" {
    both 'git rebase -q side 2>&1; git log --format="%s %T"; git worktree add -q ../wt side
        cat ../wt/dir3/new; git worktree list | wc -l; git worktree remove ../wt; ls ..'
}
