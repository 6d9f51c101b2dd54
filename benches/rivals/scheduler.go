//go:build ignore

// The cases of the benchmark `scheduler` in Go, with the same numbers of tasks.
//
//	go build scheduler.go && ./scheduler --workers 2
package main

import (
	"encoding/json"
	"flag"
	"fmt"
	"os"
	"runtime"
	"sort"
	"sync/atomic"
	"time"
)

// As in benches/scheduler.rs.
const (
	spawned  = 10_000
	yielding = 200
	yields   = 1_000
	pairs    = 1_000
	chained  = 1_000
)

// spawnMany starts goroutines that do nothing, and waits for the last one to end.
func spawnMany() int {
	done := make(chan struct{}, 1)
	var left atomic.Int64
	left.Store(spawned)
	for i := 0; i < spawned; i++ {
		go func() {
			if left.Add(-1) == 0 {
				done <- struct{}{}
			}
		}()
	}
	<-done
	return spawned
}

// yieldMany has goroutines give way over and over.
func yieldMany() int {
	done := make(chan struct{}, yielding)
	for i := 0; i < yielding; i++ {
		go func() {
			for j := 0; j < yields; j++ {
				runtime.Gosched()
			}
			done <- struct{}{}
		}()
	}
	for i := 0; i < yielding; i++ {
		<-done
	}
	return yielding * yields
}

// pingPong has each of many goroutines start another one and exchange one message each way.
func pingPong() int {
	done := make(chan struct{}, 1)
	var left atomic.Int64
	left.Store(pairs)
	for i := 0; i < pairs; i++ {
		go func() {
			ping, pong := make(chan struct{}, 1), make(chan struct{}, 1)
			go func() {
				<-ping
				pong <- struct{}{}
			}()
			ping <- struct{}{}
			<-pong
			if left.Add(-1) == 0 {
				done <- struct{}{}
			}
		}()
	}
	<-done
	return pairs
}

// chainedSpawn has each goroutine start the next one.
func chainedSpawn() int {
	done := make(chan struct{}, 1)
	var link func(left int)
	link = func(left int) {
		if left == 0 {
			done <- struct{}{}
			return
		}
		go link(left - 1)
	}
	go link(chained)
	<-done
	return chained
}

func main() {
	only := flag.String("case", "all", "spawn_many, yield_many, ping_pong, chained_spawn or all")
	workers := flag.Int("workers", 2, "GOMAXPROCS")
	rounds := flag.Int("rounds", 100, "rounds; the median counts")
	flag.String("runtime", "go", "go: there is nothing else")
	flag.Parse()
	runtime.GOMAXPROCS(*workers)
	known := false
	for _, c := range []struct {
		name string
		run  func() int
	}{
		{"spawn_many", spawnMany},
		{"yield_many", yieldMany},
		{"ping_pong", pingPong},
		{"chained_spawn", chainedSpawn},
	} {
		if *only != "all" && *only != c.name {
			continue
		}
		known = true
		measure(c.name, *workers, *rounds, c.run)
	}
	if !known {
		fmt.Fprintf(os.Stderr, "there is no case %s\n", *only)
		os.Exit(2)
	}
}

func measure(name string, workers, rounds int, run func() int) {
	all := make([]float64, 0, rounds)
	// A few rounds until memory and threads are there.
	for round := -rounds / 10; round < rounds; round++ {
		start := time.Now()
		operations := run()
		if round >= 0 {
			all = append(all, float64(time.Since(start).Nanoseconds())/float64(operations))
		}
	}
	sort.Float64s(all)
	line, err := json.Marshal(struct {
		Case    string  `json:"case"`
		Runtime string  `json:"runtime"`
		Workers int     `json:"workers"`
		Cost    float64 `json:"ns_per_op"`
	}{name, "go", workers, all[len(all)/2]})
	if err != nil {
		panic(err)
	}
	fmt.Println(string(line))
}
