//go:build ignore

// The benchmark `starvation` in Go: hogs that never give way, and beside them a goroutine that sleeps and two that
// talk to each other. The same flags, the same units of work, the same JSON object.
//
//	go build starvation.go && ./starvation --runtime go --kind spin --hogs 16 --workers 2 --secs 3
package main

import (
	"encoding/json"
	"flag"
	"fmt"
	"math"
	"os"
	"runtime"
	"sort"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"time"
)

// As in src/work.rs and src/stage.rs.
const (
	spinSteps     = 5_000
	blocks        = 64
	liveBlocks    = 256
	lockedSteps   = 500_000
	unlockedSteps = 50_000
	nap           = 50 * time.Millisecond
	period        = time.Millisecond
	timed         = 16
	byHand        = 100 * time.Microsecond
)

var (
	kind = flag.String("kind", "spin", "spin, alloc, lock or sleep")
	hogs = flag.Int("hogs", 16, "hogs")
	secs = flag.Float64("secs", 3, "seconds to measure")

	lock     sync.Mutex
	locked   uint64
	stop     atomic.Bool
	measures atomic.Bool
	present  atomic.Int64
	trips    atomic.Uint64
	// When measuring begins and ends; read once `measures` is true.
	begin, end time.Time
	units      []paddedUnits
)

// What a hog has done, on cache lines of its own.
type paddedUnits struct {
	n atomic.Uint64
	_ [120]byte
}

type work struct {
	number uint64
	blocks [][]byte
}

//go:noinline
func spin(number uint64, steps int) uint64 {
	for i := 0; i < steps; i++ {
		number = step(number)
	}
	return number
}

func step(number uint64) uint64 {
	number ^= number << 13
	number ^= number >> 7
	return number ^ number<<17
}

func (w *work) unit() {
	switch *kind {
	case "spin":
		w.number = spin(w.number, spinSteps)
	case "alloc":
		for i := 0; i < blocks; i++ {
			w.number = step(w.number)
			slot := w.number % liveBlocks
			block := make([]byte, 16+(w.number>>32)%1024)
			block[0] = byte(slot)
			w.blocks[slot] = block
		}
	case "lock":
		lock.Lock()
		w.number = spin(w.number, lockedSteps)
		locked += w.number
		lock.Unlock()
		w.number = spin(w.number, unlockedSteps)
	case "sleep":
		// As std::thread::sleep: the thread sleeps, and the scheduler is not told that it will.
		request := syscall.NsecToTimespec(int64(nap))
		for syscall.Nanosleep(&request, &request) == syscall.EINTR {
		}
	}
}

func hog(index int, yields bool) {
	w := work{number: 0x9e3779b97f4a7c15 * (2*uint64(index) + 1), blocks: make([][]byte, liveBlocks)}
	last := time.Now()
	for done := uint64(1); !stop.Load(); done++ {
		w.unit()
		units[index].n.Store(done)
		if yields && time.Since(last) >= byHand {
			runtime.Gosched()
			last = time.Now()
		}
	}
}

// Latencies of one goroutine. The main one reads them when it has said `stop` and waited.
type latencies struct {
	all   []int64
	woken bool
}

// Those that belong to the time of measuring; what is not over at its end counts until there.
func (l *latencies) record(due, now time.Time) {
	if !measures.Load() || now.Before(begin) || !due.Before(end) {
		return
	}
	if now.After(end) {
		now = end
	} else {
		l.woken = true
	}
	l.all = append(l.all, max(0, now.Sub(due).Nanoseconds()))
}

type percentiles struct {
	N    int      `json:"n"`
	P50  *float64 `json:"p50_us"`
	P90  *float64 `json:"p90_us"`
	P99  *float64 `json:"p99_us"`
	P999 *float64 `json:"p999_us"`
	Max  *float64 `json:"max_us"`
}

func (l *latencies) percentiles() percentiles {
	n := len(l.all)
	if n == 0 {
		return percentiles{}
	}
	sort.Slice(l.all, func(i, j int) bool { return l.all[i] < l.all[j] })
	at := func(fraction float64) *float64 {
		rank := max(int(math.Ceil(float64(n)*fraction)), 1)
		us := math.Round(float64(l.all[rank-1])/100) / 10
		return &us
	}
	return percentiles{n, at(0.5), at(0.9), at(0.99), at(0.999), at(1)}
}

func sleeper(late, waits *latencies) {
	present.Add(1)
	for !stop.Load() {
		due := time.Now().Add(period)
		time.Sleep(period)
		now := time.Now()
		late.record(due, now)
		if *kind == "lock" {
			lock.Lock()
			//lint:ignore SA2001 it is the wait that counts
			lock.Unlock()
			waits.record(now, time.Now())
		}
	}
}

func ping(times *latencies, paced bool, out chan<- struct{}, in <-chan struct{}) {
	present.Add(1)
	for trip := 0; !stop.Load(); trip++ {
		if paced {
			time.Sleep(period)
		}
		isTimed := paced || trip%timed == 0
		var start time.Time
		if isTimed {
			start = time.Now()
		}
		out <- struct{}{}
		<-in
		if isTimed {
			times.record(start, time.Now())
		}
		trips.Add(1)
	}
}

func pong(in <-chan struct{}, out chan<- struct{}) {
	present.Add(1)
	for range in {
		out <- struct{}{}
	}
}

func sum() (total uint64) {
	for i := range units {
		total += units[i].n.Load()
	}
	return
}

func allBegan() bool {
	for i := range units {
		if units[i].n.Load() == 0 {
			return false
		}
	}
	return true
}

// The least and the most that a hog got, over the mean.
func shares(before []uint64) (least, most float64) {
	least = math.Inf(1)
	total := 0.0
	for i := range units {
		done := float64(units[i].n.Load() - before[i])
		total += done
		least, most = min(least, done), max(most, done)
	}
	mean := total / float64(len(units))
	return least / mean, most / mean
}

func main() {
	name := flag.String("runtime", "go", "go or go-yield")
	workers := flag.Int("workers", 2, "GOMAXPROCS")
	pingpong := flag.String("pingpong", "paced", "paced, back-to-back or off")
	yield := flag.Bool("yield", false, "as --runtime go-yield")
	fairness := flag.Bool("fairness", false, "how equal the hogs' shares are, instead of latencies")
	flag.Parse()
	if !strings.Contains(" spin alloc lock sleep ", " "+*kind+" ") {
		fmt.Fprintf(os.Stderr, "no hogs of kind %s in Go\n", *kind)
		os.Exit(2)
	}
	runtime.GOMAXPROCS(*workers)
	if *yield {
		*name = "go-yield"
	}
	units = make([]paddedUnits, *hogs)

	var late, waits, times latencies
	expected := int64(0)
	if !*fairness {
		go sleeper(&late, &waits)
		expected++
		if *pingpong != "off" {
			a, b := make(chan struct{}, 1), make(chan struct{}, 1)
			go ping(&times, *pingpong == "paced", a, b)
			go pong(a, b)
			expected += 2
		}
	}
	for present.Load() < expected {
		time.Sleep(period)
	}
	for i := 0; i < *hogs; i++ {
		go hog(i, *name == "go-yield")
	}
	limit := time.Now().Add(300*time.Millisecond + time.Duration(*hogs / *workers)*15*time.Millisecond)
	for !allBegan() && time.Now().Before(limit) {
		time.Sleep(period)
	}

	before := make([]uint64, *hogs)
	for i := range units {
		before[i] = units[i].n.Load()
	}
	unitsBefore, tripsBefore := sum(), trips.Load()
	begin = time.Now()
	end = begin.Add(time.Duration(*secs * float64(time.Second)))
	measures.Store(true)
	time.Sleep(time.Until(end))
	elapsed := time.Since(begin).Seconds()
	done, tripsDone := sum()-unitsBefore, trips.Load()-tripsBefore
	least, most := shares(before)
	stop.Store(true)
	// The others wake once more, and append no longer.
	time.Sleep(150 * time.Millisecond)

	if *fairness {
		print(map[string]any{
			"case": "shares", "runtime": *name, "hogs": *hogs, "workers": *workers, "secs": *secs,
			"min": math.Round(least*1e4) / 1e4, "mean": 1, "max": math.Round(most*1e4) / 1e4,
		})
		return
	}
	row := map[string]any{
		"runtime": *name, "kind": *kind, "hogs": *hogs, "workers": *workers, "secs": *secs,
		"starved": !late.woken, "sleeper": late.percentiles(), "pingpong": nil,
		"hog_per_s": nil, "preemptions": nil, "signals": nil,
	}
	if *pingpong != "off" {
		row["pingpong"] = struct {
			Mode string `json:"mode"`
			percentiles
			Trips float64 `json:"round_trips_per_s"`
		}{*pingpong, times.percentiles(), math.Round(float64(tripsDone) / elapsed)}
	}
	if *kind == "lock" {
		row["lock_wait"] = waits.percentiles()
	}
	if *hogs > 0 {
		row["hog_per_s"] = math.Round(float64(done)/elapsed*10) / 10
	}
	print(row)
}

func print(row map[string]any) {
	line, err := json.Marshal(row)
	if err != nil {
		panic(err)
	}
	fmt.Println(string(line))
}
