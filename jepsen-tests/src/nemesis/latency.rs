//! Distance between nodes, as between regions. Clients are where the node is that they ask.

use std::time::Duration;

use anyhow::Result;
use rand::Rng;
use rand_xoshiro::Xoshiro256PlusPlus;

use super::Effect;
use super::members::{GUEST, STAND_IN};
use crate::fault::Step;
use crate::fleet::{Fleet, Way};
use crate::history::{Acknowledgements, Recorder};
use crate::waiting::pause;

/// How long a packet is under way, in milliseconds; there and back may differ.
const WAY_MS: std::ops::RangeInclusive<u64> = 40..=120;
/// Acknowledgements that it takes to say something about them.
const ENOUGH: usize = 5;

/// Holds packets up for a while. It took effect if the fastest write then took as long as the shortest way there and back,
/// and the fastest before did not: no write is durable on two nodes sooner.
pub(super) async fn hold_up(
    (fleet, recorder): (&Fleet, &Recorder),
    step: &Step,
    random: &mut Xoshiro256PlusPlus,
) -> Result<Effect> {
    // Nodes that come and go are as far away as the others.
    let numbers: Vec<usize> = (1..=fleet.size()).chain([STAND_IN, GUEST]).collect();
    let ways = ways(&numbers, random);
    let name = format!("fault{}", step.number);
    let before = recorder.acknowledgements(0..recorder.now_us());
    let delays = fleet.network().hold_up(&name, &ways).await?;
    let began_us = recorder.now_us();
    pause(Duration::from_millis(step.lasts_ms)).await;
    let during = recorder.acknowledgements(began_us..recorder.now_us());
    let carried = fleet.network().hurry(&name, delays).await?;
    let shortest = shortest_return(&ways);
    let (least, most) = (
        ways.iter().map(|way| way.takes).min(),
        ways.iter().map(|way| way.takes).max(),
    );
    Ok(Effect {
        nodes: (1..=fleet.size()).collect(),
        what: format!(
            "packets are under way for {} to {} ms, for {} ms",
            millis(least),
            millis(most),
            step.lasts_ms
        ),
        shown: format!(
            "{} packets were held up; {} writes were acknowledged in {} ms at the least and {} ms in the middle, before in {} \
             and {} ms; there and back takes {} ms at the least",
            carried.packets,
            during.count,
            millis(during.fastest),
            millis(during.median),
            millis(before.fastest),
            millis(before.median),
            shortest.as_millis(),
        ),
        took: carried.packets > 0 && is_felt(before, during, shortest),
    })
}

/// A time for each direction between each two.
fn ways(numbers: &[usize], random: &mut Xoshiro256PlusPlus) -> Vec<Way> {
    let mut ways = Vec::new();
    for at in numbers {
        for from in numbers.iter().filter(|from| *from != at) {
            ways.push(Way {
                at: *at,
                from: *from,
                takes: Duration::from_millis(random.gen_range(WAY_MS)),
            });
        }
    }
    ways
}

/// The shortest time from a node to another and back.
fn shortest_return(ways: &[Way]) -> Duration {
    let back = |there: &Way| {
        ways.iter()
            .find(|way| (way.at, way.from) == (there.from, there.at))
    };
    let returns = ways
        .iter()
        .filter_map(|there| Some(there.takes + back(there)?.takes));
    returns.min().unwrap_or_default()
}

/// Whether writes were slowed down by the distance, and by nothing that was there before.
fn is_felt(before: Acknowledgements, during: Acknowledgements, shortest: Duration) -> bool {
    let slow = |seen: Acknowledgements| seen.fastest.is_some_and(|fastest| fastest >= shortest);
    during.count >= ENOUGH && slow(during) && !slow(before)
}

fn millis(time: Option<Duration>) -> u128 {
    time.unwrap_or_default().as_millis()
}

#[cfg(test)]
mod tests {
    use rand::SeedableRng;

    use super::*;

    fn acknowledged(count: usize, fastest_ms: u64) -> Acknowledgements {
        let fastest = Some(Duration::from_millis(fastest_ms)).filter(|_| count > 0);
        Acknowledgements {
            count,
            fastest,
            median: fastest,
        }
    }

    #[test]
    fn every_direction_has_a_way_and_the_shortest_return_is_the_least_sum_of_two() {
        let mut random = Xoshiro256PlusPlus::seed_from_u64(1);
        let ways = ways(&[1, 2, 9], &mut random);
        assert_eq!(ways.len(), 6);
        assert!(
            ways.iter()
                .all(|way| WAY_MS.contains(&(way.takes.as_millis() as u64)))
        );
        let way = |at, from, millis| Way {
            at,
            from,
            takes: Duration::from_millis(millis),
        };
        let known = [way(1, 2, 40), way(2, 1, 120), way(1, 3, 70), way(3, 1, 60)];
        assert_eq!(shortest_return(&known), Duration::from_millis(130));
    }

    #[test]
    fn an_acknowledgement_that_is_too_fast_or_was_as_slow_before_shows_no_distance() {
        let shortest = Duration::from_millis(90);
        assert!(is_felt(acknowledged(50, 8), acknowledged(9, 95), shortest));
        assert!(!is_felt(acknowledged(50, 8), acknowledged(9, 30), shortest));
        assert!(!is_felt(acknowledged(50, 91), acknowledged(9, 95), shortest));
        assert!(!is_felt(acknowledged(50, 8), acknowledged(2, 95), shortest));
        assert!(!is_felt(acknowledged(0, 0), acknowledged(0, 0), shortest));
    }
}
