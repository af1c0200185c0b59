//! Between the counters of a profile, which know their bins, and the counters of the log, which only add up.
//!
//! A number is written as `[under, bins.., over]`, a category as `[categories.., other, new]`; the predictions come last.
//! Of new categories only some names are kept; the count beside a name says in how many flushes it was seen.
//!
//! Invariant: there and back gives the same counters, and adding up in either form gives the same.

use covey_ml::ProfileCounts;
use covey_ml::profile::counts::{CategoricalCounts, FeatureCounts, NEW_EXAMPLES_MAX, NumericCounts};
use covey_ml::profile::{FeatureShape, ReferenceProfile};
use covey_state::monitor::{FeatureCounts as LoggedCounts, WindowCounts};

use crate::error::Failure;

/// The counters in the form of the log.
pub(super) fn to_log(counts: &ProfileCounts) -> WindowCounts {
    let feature = |feature: &FeatureCounts| match feature {
        FeatureCounts::Numeric(counts) => number_to_log(counts),
        FeatureCounts::Categorical(counts) => category_to_log(counts),
    };
    let mut features: Vec<LoggedCounts> = counts.features.iter().map(feature).collect();
    features.push(number_to_log(&counts.prediction));
    WindowCounts {
        rows: counts.rows,
        features,
    }
}

/// The counters on the bins of a profile; counters of another profile are refused.
pub(super) fn from_log(profile: &ReferenceProfile, counts: &WindowCounts) -> Result<ProfileCounts, Failure> {
    let Some((prediction, features)) = counts.features.split_last() else {
        return Err(misfit(format!(
            "a window of {} rows has no counters",
            counts.rows
        )));
    };
    if features.len() != profile.features.len() {
        let (found, expected) = (features.len(), profile.features.len());
        return Err(misfit(format!(
            "{found} features are counted, the profile has {expected}"
        )));
    }
    let feature =
        |(profile, counts): (&covey_ml::profile::FeatureProfile, &LoggedCounts)| match &profile.shape {
            FeatureShape::Numeric(_) => number_from_log(counts).map(FeatureCounts::Numeric),
            FeatureShape::Categorical(_) => category_from_log(counts).map(FeatureCounts::Categorical),
        };
    Ok(ProfileCounts {
        rows: counts.rows,
        features: profile
            .features
            .iter()
            .zip(features)
            .map(feature)
            .collect::<Result<_, _>>()?,
        prediction: number_from_log(prediction)?,
    })
}

fn number_to_log(counts: &NumericCounts) -> LoggedCounts {
    let mut bins = Vec::with_capacity(counts.bins.len() + 2);
    bins.push(counts.under);
    bins.extend_from_slice(&counts.bins);
    bins.push(counts.over);
    LoggedCounts {
        bins,
        missing: counts.missing,
        ..LoggedCounts::default()
    }
}

fn number_from_log(counts: &LoggedCounts) -> Result<NumericCounts, Failure> {
    match counts.bins.as_slice() {
        [under, bins @ .., over] => Ok(NumericCounts {
            under: *under,
            bins: bins.to_vec(),
            over: *over,
            missing: counts.missing,
        }),
        bins => Err(misfit(format!("a number has {} counters", bins.len()))),
    }
}

fn category_to_log(counts: &CategoricalCounts) -> LoggedCounts {
    let mut bins = counts.categories.clone();
    bins.extend([counts.other, counts.new]);
    let named = counts.new_examples.iter().map(|name| (name.clone(), 1)).collect();
    LoggedCounts {
        bins,
        named,
        missing: counts.missing,
        other: 0,
    }
}

fn category_from_log(counts: &LoggedCounts) -> Result<CategoricalCounts, Failure> {
    let [categories @ .., other, new] = counts.bins.as_slice() else {
        return Err(misfit(format!("a category has {} counters", counts.bins.len())));
    };
    Ok(CategoricalCounts {
        categories: categories.to_vec(),
        other: *other,
        new: *new,
        new_examples: counts.named.keys().take(NEW_EXAMPLES_MAX).cloned().collect(),
        missing: counts.missing,
    })
}

fn misfit(reason: String) -> Failure {
    Failure::invalid("drift window", reason)
}

#[cfg(test)]
pub(super) mod tests {
    use covey_ml::feature::FeatureSpec;
    use covey_ml::frame::{Column, Frame};
    use covey_ml::{Output, ReferenceProfile};

    use super::*;

    /// A profile over one number and one category.
    pub(in crate::drift) fn profile() -> ReferenceProfile {
        let features = [FeatureSpec::numeric("wind"), FeatureSpec::categorical("origin")];
        let predictions: Vec<f64> = (0..100).map(|row| f64::from(row) / 100.0).collect();
        ReferenceProfile::build(&features, &rows(100, "EWR"), Output::Probability, &predictions).unwrap()
    }

    /// Rows of which every other one comes from `origin`.
    pub(in crate::drift) fn rows(count: u32, origin: &str) -> Frame {
        let wind = (0..count)
            .map(|row| if row % 10 == 9 { f64::NAN } else { f64::from(row) })
            .collect();
        let origin = (0..count)
            .map(|row| (row % 2 == 0).then(|| origin.to_owned()))
            .collect();
        Frame::new(vec![Column::float("wind", wind), Column::text("origin", origin)]).unwrap()
    }

    fn counted(profile: &ReferenceProfile, rows: &Frame) -> ProfileCounts {
        let mut counts = ProfileCounts::zero(profile);
        counts.observe(profile, rows, &vec![0.25; rows.rows()]).unwrap();
        counts
    }

    #[test]
    fn counters_survive_the_way_to_the_log_and_back() {
        let profile = profile();
        let counts = counted(&profile, &rows(250, "ORD"));
        let logged = to_log(&counts);
        assert_eq!(logged.features.len(), 3);
        assert_eq!(from_log(&profile, &logged).unwrap(), counts);
    }

    #[test]
    fn adding_up_in_the_log_is_adding_up_on_the_profile() {
        let profile = profile();
        let (left, right) = (
            counted(&profile, &rows(10, "EWR")),
            counted(&profile, &rows(7, "LGA")),
        );
        let mut logged = to_log(&left);
        logged.merge(&to_log(&right));
        let mut both = left.clone();
        both.merge(&right).unwrap();
        assert_eq!(from_log(&profile, &logged).unwrap(), both);
    }

    #[test]
    fn counters_of_another_profile_are_refused() {
        let profile = profile();
        let mut logged = to_log(&counted(&profile, &rows(5, "EWR")));
        logged.features.pop();
        assert!(from_log(&profile, &logged).is_err());
        assert!(from_log(&profile, &WindowCounts::default()).is_err());
    }
}
