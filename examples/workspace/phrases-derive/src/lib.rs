//! `#[derive(Names)]`: names for the variants of an enum.

use proc_macro::{Delimiter, TokenStream, TokenTree};

/// For an enum whose variants hold nothing: `ALL`, `NAMES` (both in the order of the variants), `name` and `from_name`.
/// The name of `TwoWords` is `two-words`.
#[proc_macro_derive(Names)]
pub fn names(input: TokenStream) -> TokenStream {
    match expand(input) {
        Ok(text) => text.parse().expect("what is generated is Rust"),
        Err(why) => format!("::core::compile_error!({why:?});")
            .parse()
            .expect("an error message is Rust"),
    }
}

fn expand(input: TokenStream) -> Result<String, &'static str> {
    let mut tokens = input.into_iter();
    tokens
        .by_ref()
        .find(|token| matches!(token, TokenTree::Ident(word) if word.to_string() == "enum"))
        .ok_or("only an enum can derive `Names`")?;
    let Some(TokenTree::Ident(name)) = tokens.next() else {
        return Err("an enum has a name");
    };
    let Some(TokenTree::Group(body)) = tokens.next() else {
        return Err("an enum that derives `Names` has no parameters");
    };
    if body.delimiter() != Delimiter::Brace {
        return Err("an enum has its variants in braces");
    }
    let mut variants = Vec::new();
    for token in body.stream() {
        match token {
            TokenTree::Ident(variant) => variants.push(variant.to_string()),
            // Commas, and attributes such as documentation.
            TokenTree::Punct(_) => {}
            TokenTree::Group(group) if group.delimiter() == Delimiter::Bracket => {}
            _ => return Err("the variants of an enum that derives `Names` hold nothing"),
        }
    }
    let count = variants.len();
    let all: String = variants
        .iter()
        .map(|variant| format!("{name}::{variant},"))
        .collect();
    let names: String = variants
        .iter()
        .map(|variant| format!("{:?},", kebab(variant)))
        .collect();
    let arms: String = variants
        .iter()
        .map(|variant| format!("{name}::{variant} => {:?},", kebab(variant)))
        .collect();
    Ok(format!(
        "impl {name} {{
            /// Every variant, in order.
            pub const ALL: [{name}; {count}] = [{all}];
            /// The name of every variant, in order.
            pub const NAMES: [&'static str; {count}] = [{names}];
            /// The name of this variant.
            pub fn name(&self) -> &'static str {{ match self {{ {arms} }} }}
            /// The variant of that name.
            pub fn from_name(name: &str) -> ::core::option::Option<Self> {{
                Self::ALL.into_iter().find(|variant| variant.name() == name)
            }}
        }}"
    ))
}

fn kebab(variant: &str) -> String {
    let mut out = String::new();
    for c in variant.chars() {
        if c.is_uppercase() && !out.is_empty() {
            out.push('-');
        }
        out.extend(c.to_lowercase());
    }
    out
}
