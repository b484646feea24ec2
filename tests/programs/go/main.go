// A static Go program: raw system calls from many threads, no libc. Walks, reads, writes, renames
// and removes in the directory given, prints a summary that depends on the tree alone.
package main

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"sort"
	"sync"
)

func check(err error) {
	if err != nil {
		fmt.Fprintln(os.Stderr, "FAIL:", err)
		os.Exit(1)
	}
}

// summary lists every path below dir with its kind and, for files, its content.
func summary(dir string) []string {
	var out []string
	check(filepath.Walk(dir, func(path string, info os.FileInfo, err error) error {
		if err != nil {
			return err
		}
		rel, _ := filepath.Rel(dir, path)
		line := rel + " " + info.Mode().Type().String()
		if info.Mode().IsRegular() {
			data, err := os.ReadFile(path)
			if err != nil {
				return err
			}
			line += " " + string(data)
		}
		out = append(out, line)
		return nil
	}))
	sort.Strings(out)
	return out
}

// worker creates, writes, renames and removes files of its own.
func worker(dir string, id int, done *sync.WaitGroup) {
	defer done.Done()
	for i := 0; i < 50; i++ {
		name := filepath.Join(dir, fmt.Sprintf("w%d-%d", id, i))
		check(os.WriteFile(name, []byte(fmt.Sprint(id, i)), 0o644))
		check(os.Rename(name, name+".new"))
		data, err := os.ReadFile(name + ".new")
		check(err)
		if string(data) != fmt.Sprint(id, i) {
			check(fmt.Errorf("%s.new: wrong content %q", name, data))
		}
		if i%5 != 0 {
			check(os.Remove(name + ".new"))
		}
	}
}

func main() {
	if len(os.Args) == 3 && os.Args[1] == "cat" {
		data, err := os.ReadFile(os.Args[2])
		check(err)
		os.Stdout.Write(data)
		return
	}
	if len(os.Args) != 2 {
		check(fmt.Errorf("usage: goprobe DIR | goprobe cat FILE"))
	}
	dir := os.Args[1]
	for _, line := range summary(dir) {
		fmt.Println(line)
	}
	var done sync.WaitGroup
	for id := 0; id < 8; id++ {
		done.Add(1)
		go worker(dir, id, &done)
	}
	done.Wait()
	left, err := os.ReadDir(dir)
	check(err)
	n := 0
	for _, entry := range left {
		if ok, _ := filepath.Match("w*-*.new", entry.Name()); ok {
			n++
		}
	}
	fmt.Println("left:", n)
	// A child of a many-threaded parent, which is this very program.
	self, err := os.Executable()
	check(err)
	check(os.WriteFile(filepath.Join(dir, "said"), []byte("to the child\n"), 0o644))
	cmd := exec.Command(self, "cat", filepath.Join(dir, "said"))
	cmd.Dir = dir
	data, err := cmd.Output()
	check(err)
	fmt.Print(string(data))
	wd, err := filepath.EvalSymlinks(dir)
	check(err)
	check(os.Chdir(wd))
	got, err := os.Getwd()
	check(err)
	if got != wd {
		check(fmt.Errorf("getwd: %s, not %s", got, wd))
	}
}
