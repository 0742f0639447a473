//! The order in which a packed blob has its nodes: those with more entries below them first, by powers of two, each after the one
//! that leads to it.
//!
//! A look-up finds the first lines of a blob fetched ahead, the others each cost a miss: so what most of them come by lies in
//! front. Exact weights would place hardly any node otherwise, and need a heap.

/// Classes of weights: as many entries as a blob can hold have a class.
const CLASSES: usize = 16;
const NONE: u32 = u32::MAX;

/// What is still to be placed. Items of one class come out as they went in.
pub(super) struct Order<T> {
    /// Each with the number of the next one of its class.
    items: Vec<(T, u32)>,
    /// The numbers of the first and the last item of each class.
    ends: [[u32; 2]; CLASSES],
}

impl<T: Copy> Order<T> {
    pub(super) fn new() -> Self {
        Self { items: Vec::with_capacity(256), ends: [[NONE; 2]; CLASSES] }
    }

    /// Takes in something with so many entries below it.
    pub(super) fn push(&mut self, entries: usize, item: T) {
        let class = (entries.max(1).ilog2() as usize).min(CLASSES - 1);
        let number = self.items.len() as u32;
        self.items.push((item, NONE));
        let [first, last] = &mut self.ends[class];
        match *last {
            NONE => *first = number,
            before => self.items[before as usize].1 = number,
        }
        *last = number;
    }

    /// The next one of the heaviest class.
    pub(super) fn pop(&mut self) -> Option<T> {
        let ends = self.ends.iter_mut().rev().find(|ends| ends[0] != NONE)?;
        let (item, next) = self.items[ends[0] as usize];
        ends[0] = next;
        if next == NONE {
            ends[1] = NONE;
        }
        Some(item)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn heavier_classes_come_first_and_each_in_its_order() {
        let mut order = Order::new();
        for entries in [1, 9, 2, 3, 8, 700, 0, 15, 16_384, usize::MAX] {
            order.push(entries, entries);
        }
        let mut out = Vec::new();
        for _ in 0..3 {
            out.extend(order.pop());
        }
        order.push(12, 12);
        out.extend(std::iter::from_fn(|| order.pop()));
        assert_eq!(out, [usize::MAX, 16_384, 700, 9, 8, 15, 12, 2, 3, 1, 0]);
        order.push(5, 5);
        assert_eq!([order.pop(), order.pop()], [Some(5), None]);
    }
}
