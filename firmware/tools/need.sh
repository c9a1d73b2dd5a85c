#!/bin/sh
# need.sh WHY TOOL...   fails with one line that says which Debian packages are missing for WHY
# need.sh --packages    prints the packages that are missing for everything, for a machine to be set up
# TOOL: host arm qemu cmocka fuzz cppcheck

probe() {
    case $1 in
    host) echo 'int main(void){return 0;}' | "${HOST_CC:-gcc}" --coverage -xc - -o "$scratch" ;;
    arm) echo '#include <string.h>' | "${ARM:-arm-none-eabi-}gcc" --specs=nano.specs -E -xc - ;;
    qemu) command -v qemu-system-arm ;;
    cmocka) printf '#include <stdarg.h>\n#include <stddef.h>\n#include <stdint.h>\n#include <setjmp.h>\n#include <cmocka.h>\n' |
        "${HOST_CC:-gcc}" -E -xc - ;;
    # clang alone is not enough: the fuzzer's library comes in a package of its own.
    fuzz) echo '#include <stddef.h>
int LLVMFuzzerTestOneInput(const char *d, size_t n); int LLVMFuzzerTestOneInput(const char *d, size_t n){return d == 0 && n;}' |
        "${CLANG:-clang}" -fsanitize=fuzzer,address,undefined -xc - -o "$scratch" ;;
    cppcheck) command -v cppcheck ;;
    *) false ;;
    esac >/dev/null 2>&1
}

packages() {
    case $1 in
    host) echo gcc libc6-dev ;;
    arm) echo gcc-arm-none-eabi libnewlib-arm-none-eabi ;;
    qemu) echo qemu-system-arm ;;
    cmocka) echo libcmocka-dev ;;
    fuzz) echo clang libclang-rt-dev ;;
    cppcheck) echo cppcheck ;;
    esac
}

why=$1
shift
[ "$why" != --packages ] || set -- host arm qemu cmocka fuzz cppcheck
scratch=$(mktemp)
trap 'rm -f "$scratch"' EXIT

missing=
for tool in "$@"; do
    probe "$tool" || missing="$missing $(packages "$tool")"
done
if [ "$why" = --packages ]; then
    echo $missing
elif [ "$missing" ]; then
    echo "firmware: $why needs$missing: apt-get install$missing" >&2
    exit 1
fi
