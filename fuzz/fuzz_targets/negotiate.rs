//! Any bytes as Accept and Accept-Language: never a panic, and never a language that is not there.
#![no_main]

use std::sync::LazyLock;

use http::header::{ACCEPT, ACCEPT_LANGUAGE, HeaderMap, HeaderValue};
use libfuzzer_sys::fuzz_target;
use sluis::notice::language::Languages;
use sluis::notice::negotiate;

static LANGUAGES: LazyLock<Languages> = LazyLock::new(Languages::built_in);

fuzz_target!(|values: Vec<&[u8]>| {
    let mut fields = HeaderMap::new();
    for value in values.iter().take(100).filter_map(|value| HeaderValue::from_bytes(value).ok()) {
        fields.append(ACCEPT, value.clone());
        fields.append(ACCEPT_LANGUAGE, value);
    }
    let first = (negotiate::media_type(&fields), negotiate::language(&fields, &LANGUAGES));
    assert!(first.1 < LANGUAGES.iter().count());
    assert_eq!(first, (negotiate::media_type(&fields), negotiate::language(&fields, &LANGUAGES)));
});
