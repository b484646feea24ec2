// statloop DIR FILES N: the stat loop of work.c, made by Go's own system calls.
package main

import (
	"fmt"
	"os"
	"strconv"
	"syscall"
)

func main() {
	if len(os.Args) != 4 {
		fmt.Fprintln(os.Stderr, "statloop: usage: statloop DIR FILES N")
		os.Exit(2)
	}
	files, _ := strconv.Atoi(os.Args[2])
	n, _ := strconv.Atoi(os.Args[3])
	deeper := []string{"", "sub/", "sub/deep/"}
	var st syscall.Stat_t
	for k := 0; k < n; k++ {
		i := k * 7919 % files
		path := os.Args[1] + "/a" + strconv.Itoa(i%5) + "/b" + strconv.Itoa(i/5%6) + "/c" +
			strconv.Itoa(i/30%5) + "/" + deeper[i%3] + "f" + strconv.Itoa(i)
		var want error
		if k&1 == 1 {
			path += ".no"
			want = syscall.ENOENT
		}
		if err := syscall.Stat(path, &st); err != want {
			fmt.Fprintln(os.Stderr, "statloop:", path, err)
			os.Exit(1)
		}
	}
}
