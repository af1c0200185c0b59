//! Making a failing schedule smaller: faults are left out, many at a time at first, as long as the rest still fails.

/// Which of `count` faults are enough for `fails`, which is true of all of them.
pub fn shrink(count: usize, mut fails: impl FnMut(&[usize]) -> bool) -> Vec<usize> {
    let mut kept: Vec<usize> = (0..count).collect();
    let mut part = count.div_ceil(2);
    while part > 0 {
        let (mut from, mut smaller) = (0, false);
        while from < kept.len() {
            let to = (from + part).min(kept.len());
            let fewer = [&kept[..from], &kept[to..]].concat();
            if fails(&fewer) {
                kept = fewer;
                smaller = true;
            } else {
                from = to;
            }
        }
        // What could not be left out at first may be when others are gone.
        if !(smaller && part == 1) {
            part /= 2;
        }
    }
    kept
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_needed_stays_and_nothing_else() {
        let needs =
            |needed: &'static [usize]| move |kept: &[usize]| needed.iter().all(|one| kept.contains(one));
        assert_eq!(shrink(100, needs(&[3, 77])), [3, 77]);
        assert_eq!(shrink(1, needs(&[0])), [0]);
        assert_eq!(shrink(10, needs(&[])), Vec::<usize>::new());
    }
}
