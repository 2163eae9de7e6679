//! The key `edition`.

use super::error::{Checked, Fault};
use super::model::Edition;

/// Parses the value of `edition`.
pub(super) fn parse_edition(text: &str) -> Checked<Edition> {
    match text {
        "2015" => Ok(Edition::E2015),
        "2018" => Ok(Edition::E2018),
        "2021" => Ok(Edition::E2021),
        "2024" => Ok(Edition::E2024),
        "future" => Err(Fault::unsupported(
            "the edition `future` is nightly-only in cargo",
        )),
        other => {
            let is_later = other
                .parse::<u16>()
                .is_ok_and(|year| (2025..2050).contains(&year));
            Err(Fault::new(if is_later {
                format!("the edition `{other}` is newer than this kiln")
            } else {
                format!("`{other}` is not an edition")
            })
            .help("the editions are `2015`, `2018`, `2021` and `2024`"))
        }
    }
    .map_err(|fault| fault.at(["package", "edition"]))
}
