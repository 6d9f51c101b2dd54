//! The pending timers of one shard: a priority queue threaded through the timers themselves.
//!
//! A forest of heap-ordered trees, at most one per rank, as in a binomial heap. Two trees of one rank are
//! linked into one of the next: the later root becomes the first child of the earlier.
//!
//! ```text
//!   trees[0]  trees[1]    trees[2]             a node and its links
//!      7         3           2
//!                │           │                      prev: the sibling before it,
//!                9           5 ── 4                  ▲    or the parent of a first child,
//!                            │                       │    or nothing: a root
//!                            8               child ◀─┴─▶ next
//! ```
//!
//! # Why not a pairing heap or a wheel
//!
//! A plain pairing heap inserts faster still, but the first removal after a burst of a million insertions
//! walks a million siblings, under the lock, in a section that nothing may preempt. Here the ranks keep that
//! debt small at all times. A timer wheel rounds deadlines and walks empty slots.
//!
//! A node that loses a child to [`Heap::remove`] keeps its rank: nobody looks after balance, and nobody needs
//! to. The rank still counts the links that a node won, so it bounds the children that it has.
//!
//! # Cost
//!
//! | operation      | amortised   | at worst                                                   |
//! |----------------|-------------|------------------------------------------------------------|
//! | `first`        | one load    | one load                                                   |
//! | `insert`       | O(1) links  | one link per rank: 64                                      |
//! | `remove`       | O(log n)    | one link per child and per rank, then a look at each root  |
//!
//! No recursion, no allocation, no panic: all of it runs in critical sections.
//!
//! # Invariants
//!
//! 1. No node precedes its parent; `first` is a root, and no node precedes it.
//! 2. A root stands in `trees` at its own rank, and `occupied` has a bit for exactly the filled places.
//! 3. A node of rank r below [`TOP`] has at most r children.
//! 4. Nodes with equal deadlines precede each other in the order of their insertion.

use crate::primitives::atomic::AtomicU8;
use std::cell::Cell;
use std::marker::PhantomPinned;
use std::ops::Deref;
use std::ptr::NonNull;
use std::task::Waker;

/// One place per rank. A tree of the last rank takes an astronomical number of insertions.
const RANKS: usize = u64::BITS as usize;

/// The last rank. Trees that would outgrow it stay in it: slower then, but right.
const TOP: u8 = RANKS as u8 - 1;

/// What the heap keeps inside a timer.
///
/// All cells belong to whoever holds the lock of the shard while the node is pending, and to the owner of the
/// timer while it is not. See [`super`] for the states.
pub(super) struct Node {
    /// The one field that is read without the lock.
    pub(super) state: AtomicU8,
    /// Whom to wake; filled while the node is pending.
    pub(super) waker: Cell<Option<Waker>>,
    deadline: Cell<u64>,
    sequence: Cell<u64>,
    child: Cell<Link>,
    next: Cell<Link>,
    prev: Cell<Link>,
    rank: Cell<u8>,
    // Others reach the node through the heap while its owner holds a `&mut` to what surrounds it.
    _pinned: PhantomPinned,
}

// SAFETY: `Link` stops the auto-impl. The links are used only under the lock of the shard, whichever thread
// the timer is on; a waker is `Send`.
unsafe impl Send for Node {}

// SAFETY: the cells stop the auto-impl. A shared `Node` gives access to nothing but the atomic state, except
// to the holder of the lock and to the owner of a timer that is not pending, who excludes everybody else.
unsafe impl Sync for Node {}

impl Node {
    /// A node that is in no heap, in `state`.
    pub(super) fn new(state: u8) -> Node {
        Node {
            state: AtomicU8::new(state),
            waker: Cell::new(None),
            deadline: Cell::new(0),
            sequence: Cell::new(0),
            child: Cell::new(None),
            next: Cell::new(None),
            prev: Cell::new(None),
            rank: Cell::new(0),
            _pinned: PhantomPinned,
        }
    }

    /// When it is due; meaningful while it is in a heap.
    pub(super) fn deadline(&self) -> u64 {
        self.deadline.get()
    }

    fn precedes(&self, other: &Node) -> bool {
        (self.deadline.get(), self.sequence.get()) < (other.deadline.get(), other.sequence.get())
    }
}

impl std::fmt::Debug for Node {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        // The cells may be somebody else's at the moment.
        f.debug_struct("Node").finish_non_exhaustive()
    }
}

/// A node that its holder may use: it is alive, and its cells are nobody else's at the moment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Ref(NonNull<Node>);

type Link = Option<Ref>;

impl Ref {
    /// Vouches for `node`.
    ///
    /// # Safety
    ///
    /// - `node` stays alive and in place for as long as this `Ref` or a copy of it, in a heap or out of one,
    ///   is used.
    /// - Meanwhile its cells are touched only by whoever has exclusive access to that heap.
    pub(super) unsafe fn new(node: &Node) -> Ref {
        Ref(NonNull::from(node))
    }
}

impl Deref for Ref {
    type Target = Node;

    fn deref(&self) -> &Node {
        // SAFETY: `Ref::new` was promised that the node is alive while the `Ref` is used.
        unsafe { self.0.as_ref() }
    }
}

/// The queue. Its holder has exclusive access to the cells of every node in it.
#[derive(Debug)]
pub(super) struct Heap {
    trees: [Link; RANKS],
    occupied: u64,
    first: Link,
    /// Insertions so far: the tie-breaker.
    sequence: u64,
}

// SAFETY: `Link` stops the auto-impl. The nodes behind it are `Sync`, and their cells go with the heap.
unsafe impl Send for Heap {}

impl Heap {
    /// An empty heap.
    pub(super) const fn new() -> Heap {
        Heap {
            trees: [None; RANKS],
            occupied: 0,
            first: None,
            sequence: 0,
        }
    }

    /// The node that is due first.
    pub(super) fn first(&self) -> Option<Ref> {
        self.first
    }

    /// Adds a node. It must not be in any heap.
    pub(super) fn insert(&mut self, node: Ref, deadline: u64) {
        debug_assert!(node.prev.get().is_none() && node.child.get().is_none());
        node.deadline.set(deadline);
        node.sequence.set(self.sequence);
        self.sequence += 1;
        if self.first.is_none_or(|first| node.precedes(&first)) {
            self.first = Some(node);
        }
        self.plant(node);
    }

    /// Takes a node out. It must be in this heap.
    pub(super) fn remove(&mut self, node: Ref) {
        self.cut(node);

        // Its children become trees of their own.
        let mut child = node.child.take();
        while let Some(tree) = child {
            child = tree.next.take();
            tree.prev.set(None);
            self.plant(tree);
        }
        node.rank.set(0);

        if self.first == Some(node) {
            self.first = self.earliest_root();
        }
    }

    /// Puts a lone root where its rank belongs, linking as long as that place is taken (Invariant 2).
    fn plant(&mut self, mut tree: Ref) {
        loop {
            let rank = tree.rank.get();
            match self.trees[usize::from(rank)].take() {
                Some(other) => tree = link(tree, other),
                None => {
                    self.trees[usize::from(rank)] = Some(tree);
                    self.occupied |= 1 << rank;
                    return;
                }
            }
            self.occupied &= !(1 << rank);
        }
    }

    /// Detaches a node, with all that is below it, from the place where it hangs.
    fn cut(&mut self, node: Ref) {
        let next = node.next.take();
        match node.prev.take() {
            None => {
                self.trees[usize::from(node.rank.get())] = None;
                self.occupied &= !(1 << node.rank.get());
            }
            Some(before) => {
                // `before` is the parent of a first child, else a sibling; a sibling's child is never `node`.
                if before.child.get() == Some(node) {
                    before.child.set(next);
                } else {
                    before.next.set(next);
                }
                if let Some(next) = next {
                    next.prev.set(Some(before));
                }
            }
        }
    }

    fn earliest_root(&self) -> Link {
        let mut earliest: Link = None;
        let mut places = self.occupied;
        while places != 0 {
            let root = self.trees[places.trailing_zeros() as usize];
            places &= places - 1;
            earliest = match (earliest, root) {
                (Some(a), Some(b)) => Some(if b.precedes(&a) { b } else { a }),
                (a, b) => a.or(b),
            };
        }
        earliest
    }
}

/// Makes one tree of two roots of the same rank: the later one becomes a child of the earlier.
fn link(a: Ref, b: Ref) -> Ref {
    let (parent, child) = if b.precedes(&a) { (b, a) } else { (a, b) };
    let sibling = parent.child.replace(Some(child));
    if let Some(sibling) = sibling {
        sibling.prev.set(Some(child));
    }
    child.next.set(sibling);
    child.prev.set(Some(parent));
    parent.rank.set((parent.rank.get() + 1).min(TOP));
    parent
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;
    use std::collections::BTreeMap;

    /// Numbers from a seed, good enough to shuffle with (a xorshift generator).
    struct Random(u64);

    impl Random {
        fn next(&mut self) -> u64 {
            self.0 ^= self.0 << 13;
            self.0 ^= self.0 >> 7;
            self.0 ^= self.0 << 17;
            self.0
        }

        fn below(&mut self, bound: usize) -> usize {
            (self.next() % bound as u64) as usize
        }
    }

    fn nodes(count: usize) -> Vec<Node> {
        (0..count).map(|_| Node::new(0)).collect()
    }

    fn reference(node: &Node) -> Ref {
        // SAFETY: in every test the nodes outlive the heap, stay in their vector, and have one thread.
        unsafe { Ref::new(node) }
    }

    /// Walks the whole forest and checks Invariants 1 to 3; returns how many nodes it met.
    fn check(heap: &Heap) -> usize {
        let mut stack = Vec::new();
        for (rank, root) in heap.trees.iter().enumerate() {
            assert_eq!(root.is_some(), heap.occupied >> rank & 1 == 1);
            if let Some(root) = *root {
                assert_eq!(usize::from(root.rank.get()), rank);
                assert!(root.prev.get().is_none() && root.next.get().is_none());
                assert!(!root.precedes(&heap.first.unwrap()));
                stack.push(root);
            }
        }
        let mut met = 0;
        while let Some(node) = stack.pop() {
            met += 1;
            let (mut before, mut child, mut children) = (node, node.child.get(), 0);
            while let Some(this) = child {
                assert_eq!(this.prev.get(), Some(before));
                assert!(node.precedes(&this));
                stack.push(this);
                (before, child, children) = (this, this.next.get(), children + 1);
            }
            assert!(children <= node.rank.get());
        }
        met
    }

    /// Invariants 1 to 4, against an ordered map, over random insertions, removals and pops.
    #[test]
    fn a_heap_agrees_with_an_ordered_map() {
        let steps = if cfg!(miri) { 600 } else { 60_000 };
        for seed in [1, 0x9e37_79b9_7f4a_7c15, 88_172_645_463_325_252] {
            println!("seed {seed}");
            let mut random = Random(seed);
            let nodes = nodes(500);
            let mut keys: Vec<Option<(u64, u64)>> = vec![None; nodes.len()];
            let mut oracle: BTreeMap<(u64, u64), usize> = BTreeMap::new();
            let mut heap = Heap::new();
            let mut sequence = 0;
            for step in 0..steps {
                let index = random.below(nodes.len());
                if random.below(4) == 0 {
                    let first = heap.first();
                    let expected = oracle.pop_first();
                    assert_eq!(
                        first.map(|node| node.0),
                        expected.map(|(_, index)| NonNull::from(&nodes[index]))
                    );
                    if let (Some(first), Some((key, index))) = (first, expected) {
                        assert_eq!(first.deadline(), key.0);
                        heap.remove(first);
                        keys[index] = None;
                    }
                } else if let Some(key) = keys[index].take() {
                    heap.remove(reference(&nodes[index]));
                    oracle.remove(&key);
                } else {
                    // Few different deadlines: ties are common.
                    let key = (random.next() % 100, sequence);
                    sequence += 1;
                    heap.insert(reference(&nodes[index]), key.0);
                    oracle.insert(key, index);
                    keys[index] = Some(key);
                }
                if step % 64 == 0 {
                    assert_eq!(check(&heap), oracle.len());
                }
            }
        }
    }

    /// Removals that hollow trees out, for as long as it pleases, keep Invariant 3.
    #[test]
    fn a_long_lived_node_survives_the_removal_of_all_its_children() {
        let nodes = nodes(64);
        let mut heap = Heap::new();
        heap.insert(reference(&nodes[0]), 0);
        for _ in 0..2_000 {
            for node in &nodes[1..] {
                heap.insert(reference(node), 7);
            }
            assert_eq!(check(&heap), nodes.len());
            for node in &nodes[1..] {
                heap.remove(reference(node));
            }
        }
        assert_eq!(heap.first(), Some(reference(&nodes[0])));
        assert_eq!(check(&heap), 1);
    }

    /// Trees that reach the last rank stay in it and stay in order.
    #[test]
    fn the_last_rank_holds_any_number_of_links() {
        let nodes = nodes(100);
        let mut heap = Heap::new();
        for (index, node) in nodes.iter().enumerate() {
            node.rank.set(TOP);
            heap.insert(reference(node), (index as u64 * 37) % 100);
        }
        for deadline in 0..100 {
            let first = heap.first().unwrap();
            assert_eq!(first.deadline(), deadline);
            heap.remove(first);
        }
        assert!(heap.first().is_none());
    }

    #[test]
    fn a_million_timers_come_out_in_order() {
        let count = if cfg!(miri) { 1_000 } else { 1_000_000 };
        let nodes = nodes(count);
        let mut random = Random(42);
        let mut heap = Heap::new();
        for node in &nodes {
            heap.insert(reference(node), random.next() % 1_000_000);
        }
        // Every second one is cancelled, as most timeouts are.
        for node in nodes.iter().step_by(2) {
            heap.remove(reference(node));
        }
        let mut last = (0, 0);
        let mut popped = 0;
        while let Some(first) = heap.first() {
            let key = (first.deadline(), first.sequence.get());
            assert!(popped == 0 || last < key);
            last = key;
            heap.remove(first);
            popped += 1;
        }
        assert_eq!(popped, count / 2);
        assert_eq!(heap.occupied, 0);
    }
}
