//! Names of stacks of layers: chain ids (image-spec config.md, "Layer ChainID").

pub use crate::registry::{Algorithm, Digest, Hasher};

/// The chain id of a layer upon the chain below it.
pub fn chain_id(below: Option<&Digest>, diff_id: &Digest) -> Digest {
    match below {
        None => diff_id.clone(),
        Some(below) => Digest::of(format!("{below} {diff_id}").as_bytes()),
    }
}

/// The chain ids of a stack of layers, lowest first.
pub fn chain_ids(diff_ids: &[Digest]) -> Vec<Digest> {
    let mut chain: Vec<Digest> = Vec::with_capacity(diff_ids.len());
    for diff_id in diff_ids {
        chain.push(chain_id(chain.last(), diff_id));
    }
    chain
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_chain_id_hashes_the_chain_below_and_the_layer() {
        let layer = |c: &str| format!("sha256:{}", c.repeat(64)).parse::<Digest>().unwrap();
        let chain = chain_ids(&[layer("a"), layer("b")]);
        assert_eq!(chain[0], layer("a"));
        assert_eq!(chain[1], Digest::of(format!("{} {}", layer("a"), layer("b")).as_bytes()));
    }
}
