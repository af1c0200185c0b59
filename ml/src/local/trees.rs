//! linfa's decision tree and random forest, rewritten as flat trees of our own.
//!
//! Invariant: parents come before children in the array; a leaf holds the share of label 1 among the training
//! rows that reach it, so a forest's mean over trees is a probability and no vote can be tied.

use linfa::traits::Fit;
use linfa::{ParamGuard, prelude::Records};
use linfa_ensemble::EnsembleLearnerParams;
use linfa_trees::{DecisionTree, DecisionTreeParams, TreeNode};
use rand::SeedableRng;
use rand_xoshiro::Xoshiro256Plus;

use crate::error::{Error, Result};
use crate::model::parameters::Parameters;
use crate::model::tree::{Node, Tree};

use super::Labelled;

/// What each tree of a forest sees.
pub(super) struct Draw {
    pub(super) row_share: f64,
    pub(super) column_share: f64,
    pub(super) seed: u64,
}

pub(super) fn fit_tree(data: &Labelled, depth_max: u32, leaf_rows_min: u32) -> Result<Parameters> {
    let settings: DecisionTreeParams<f64, bool> = DecisionTree::params()
        .max_depth(Some(depth_max as usize))
        .min_weight_split(2.0)
        .min_weight_leaf(leaf_rows_min as f32);
    let settings = settings
        .check()
        .map_err(|error| refused("decision_tree", &error))?;
    let fitted = settings
        .fit(data)
        .map_err(|error| refused("decision_tree", &error))?;
    Ok(Parameters::Tree(flatten(
        fitted.root_node(),
        |column| column,
        data,
    )))
}

pub(super) fn fit_forest(data: &Labelled, trees: u32, depth_max: u32, draw: Draw) -> Result<Parameters> {
    let settings: DecisionTreeParams<f64, bool> = DecisionTree::params()
        .max_depth(Some(depth_max as usize))
        .min_weight_split(2.0);
    // The ensemble unwraps the fits of its members, so their settings are checked here.
    let member = settings
        .check()
        .map_err(|error| refused("random_forest", &error))?;
    let generator = Xoshiro256Plus::seed_from_u64(draw.seed);
    let ensemble = EnsembleLearnerParams::new_fixed_rng(member, generator)
        .ensemble_size(trees as usize)
        .bootstrap_proportion(draw.row_share)
        .feature_proportion(draw.column_share)
        .check()
        .map_err(|error| refused("random_forest", &error))?;
    let forest = ensemble
        .fit(data)
        .map_err(|error| refused("random_forest", &error))?;
    let members = forest.models.iter().zip(&forest.model_features);
    let flat = members.map(|(tree, columns)| flatten(tree.root_node(), |column| columns[column], data));
    Ok(Parameters::Forest(flat.collect()))
}

fn refused(algorithm: &'static str, error: &linfa::Error) -> Error {
    Error::Fit {
        algorithm,
        reason: error.to_string(),
    }
}

/// Copies a fitted tree, parents first; `column` maps the columns a tree saw to those of the design.
fn flatten(root: &TreeNode<f64, bool>, column: impl Fn(usize) -> usize, data: &Labelled) -> Tree {
    let mut nodes = vec![leaf(root)];
    let mut open = vec![(root, 0)];
    while let Some((node, position)) = open.pop() {
        let [Some(left_child), Some(right_child)] = node.children()[..] else {
            continue;
        };
        let (split_column, threshold, _) = node.split();
        let left = nodes.len();
        nodes.push(leaf(left_child));
        nodes.push(leaf(right_child));
        nodes[position] = Node::Split {
            column: index(column(split_column)),
            threshold,
            left: index(left),
            right: index(left + 1),
        };
        open.push((right_child, left + 1));
        open.push((left_child, left));
    }
    let mut tree = Tree { nodes };
    set_shares(&mut tree, data);
    tree
}

fn leaf(node: &TreeNode<f64, bool>) -> Node {
    Node::Leaf {
        value: f64::from(u8::from(node.prediction().unwrap_or(false))),
    }
}

fn index(position: usize) -> u32 {
    u32::try_from(position).expect("a tree over at most 2^24 rows has fewer than 2^32 nodes")
}

/// Replaces the votes of the leaves by the share of label 1 among the training rows that reach them.
fn set_shares(tree: &mut Tree, data: &Labelled) {
    let mut counts = vec![(0_u32, 0_u32); tree.nodes.len()];
    for (row, label) in data.records().rows().into_iter().zip(data.targets()) {
        let dense = row
            .as_slice()
            .expect("a row of a matrix in standard layout is contiguous");
        let (rows, positives) = &mut counts[tree.leaf(dense)];
        *rows += 1;
        *positives += u32::from(*label);
    }
    debug_assert_eq!(
        counts.iter().map(|(rows, _)| *rows as usize).sum::<usize>(),
        data.nsamples()
    );
    for (node, (rows, positives)) in tree.nodes.iter_mut().zip(counts) {
        if let Node::Leaf { value } = node
            && rows > 0
        {
            *value = f64::from(positives) / f64::from(rows);
        }
    }
}
