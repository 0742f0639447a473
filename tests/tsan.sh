#!/usr/bin/env bash
# The tests of threads under ThreadSanitizer. It reports a data race, and the script fails, where two threads touch the same memory,
# at least one of them to write, and nothing orders them. Relaxed atomics are no races: what they rest on is for the loom models.
#
# Seen to work, without false reports, with Debian's packages rustc-web, cargo-web, rust-web-src (1.96), clang-22 and
# libclang-rt-22-dev. The standard library is built anew with the sanitizer: it knows nothing of what orders the threads in one
# that comes compiled, and reports falsely.
#
#   tests/tsan.sh [CASES] [SECONDS]
#
# CASES: percent of the usual number of cases, 5 unless given. SECONDS: of stress, 30 unless given.
set -euo pipefail
cd "$(dirname "$0")/.."
target=$(/usr/bin/rustc -vV | sed -n 's/^host: //p')
export RUSTC=/usr/bin/rustc RUSTDOC=/usr/bin/rustdoc RUSTC_BOOTSTRAP=1 CARGO_TARGET_DIR="$PWD/target/tsan"
export RUSTFLAGS="-Zsanitizer=thread -Zexternal-clangrt -Clinker=clang-22 -Clink-arg=-fsanitize=thread"
export TSAN_OPTIONS="exitcode=66 history_size=4"
export RAMUS_TEST_CASES=${1:-5} RAMUS_STRESS_SECONDS=${2:-30} RUST_BACKTRACE=0
build=(-Zbuild-std --target "$target" --release)

# First a plain race, to see that races are seen.
racy=$(mktemp -d)
trap 'rm -rf "$racy"' EXIT
mkdir "$racy/src"
printf '[package]\nname = "racy"\nversion = "0.0.0"\nedition = "2021"\n[workspace]\n' > "$racy/Cargo.toml"
cat > "$racy/src/main.rs" << 'EOF'
static mut SHARED: u64 = 0;

fn main() {
    let other = std::thread::spawn(|| unsafe { SHARED += 1 });
    unsafe { SHARED += 1 };
    other.join().unwrap();
}
EOF
if (cd "$racy" && /usr/bin/cargo run "${build[@]}") > "$racy/log" 2>&1 \
    || ! grep -q "WARNING: ThreadSanitizer: data race" "$racy/log"; then
    cat "$racy/log" >&2
    echo "a plain race was not seen" >&2
    exit 1
fi

# Of the unit tests those that start threads.
/usr/bin/cargo test "${build[@]}" --lib -- \
    closing_excludes threads_share readers_never_validate upgrades_lose cuts_are_exact_under concurrent_loads \
    records_of_many_groups a_panic_in_the_middle a_full_buffer switches_under_writers readers_and_writers_run \
    listings_beside_writers while_directories_move
for test in concurrency linearizable directories model stress; do
    /usr/bin/cargo test "${build[@]}" --test "$test" -- --nocapture
done
echo "no data race was seen"
