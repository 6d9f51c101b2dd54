//! Which functions and loops get a check.

use std::mem;

use syn::visit_mut::{self, VisitMut};
use syn::{
    Attribute, Block, ExprAsync, ExprClosure, ExprConst, ExprForLoop, ExprLoop, ExprRepeat,
    ExprWhile, GenericArgument, Generics, ImplItem, ImplItemFn, Item, ItemFn, ItemImpl, ItemMod,
    ItemTrait, Signature, TraitItem, TraitItemFn, Type,
};

use super::options::Options;
use super::{function, is_own};

/// A walk over an item that puts the checks in.
///
/// An item inside with a `checked` of its own is passed by: that attribute is expanded later, with its own
/// arguments.
pub(super) struct Cover<'a> {
    options: &'a Options,
    /// Whether items inside are covered as well.
    items: bool,
    /// Whether the code that is walked over runs in the program. Otherwise it runs in the compiler, where a check cannot
    /// be called.
    runs: bool,
}

impl<'a> Cover<'a> {
    /// Covers a function, without the items in its body.
    pub(super) fn function(options: &'a Options) -> Self {
        Self {
            options,
            items: false,
            runs: false,
        }
    }

    /// Covers all functions in an item.
    pub(super) fn all(options: &'a Options) -> Self {
        Self {
            options,
            items: true,
            runs: false,
        }
    }

    pub(super) fn item_fn(&mut self, function: &mut ItemFn) {
        self.body(&mut function.attrs, &mut function.sig, &mut function.block);
    }

    pub(super) fn item_impl(&mut self, block: &mut ItemImpl) {
        visit_mut::visit_item_impl_mut(self, block);
    }

    pub(super) fn item_trait(&mut self, definition: &mut ItemTrait) {
        visit_mut::visit_item_trait_mut(self, definition);
    }

    pub(super) fn item_mod(&mut self, module: &mut ItemMod) {
        visit_mut::visit_item_mod_mut(self, module);
    }

    fn body(
        &mut self,
        attributes: &mut Vec<Attribute>,
        signature: &mut Signature,
        block: &mut Block,
    ) {
        if function::refuse(attributes, signature).is_some() {
            return;
        }
        self.with(true, |cover| visit_mut::visit_block_mut(cover, block));
        function::enter(self.options, attributes, signature, block);
    }

    fn head(&self, body: &mut Block) {
        if self.runs && self.options.loops {
            let place = body.brace_token.span.open();
            body.stmts.insert(0, self.options.safepoint(place));
        }
    }

    fn with(&mut self, runs: bool, visit: impl FnOnce(&mut Self)) {
        let outer = mem::replace(&mut self.runs, runs);
        visit(self);
        self.runs = outer;
    }
}

impl VisitMut for Cover<'_> {
    // Items.

    fn visit_item_mut(&mut self, item: &mut Item) {
        let attributes = match item {
            Item::Fn(function) => &function.attrs,
            Item::Impl(block) => &block.attrs,
            Item::Trait(definition) => &definition.attrs,
            Item::Mod(module) => &module.attrs,
            _ => &Vec::new(),
        };
        if self.items && !attributes.iter().any(is_own) {
            self.with(false, |cover| visit_mut::visit_item_mut(cover, item));
        }
    }

    fn visit_impl_item_mut(&mut self, item: &mut ImplItem) {
        match item {
            ImplItem::Fn(method) if method.attrs.iter().any(is_own) => {}
            _ => visit_mut::visit_impl_item_mut(self, item),
        }
    }

    fn visit_trait_item_mut(&mut self, item: &mut TraitItem) {
        match item {
            TraitItem::Fn(method) if method.attrs.iter().any(is_own) => {}
            _ => visit_mut::visit_trait_item_mut(self, item),
        }
    }

    fn visit_item_fn_mut(&mut self, function: &mut ItemFn) {
        self.item_fn(function);
    }

    fn visit_impl_item_fn_mut(&mut self, method: &mut ImplItemFn) {
        self.body(&mut method.attrs, &mut method.sig, &mut method.block);
    }

    fn visit_trait_item_fn_mut(&mut self, method: &mut TraitItemFn) {
        if let Some(block) = &mut method.default {
            self.body(&mut method.attrs, &mut method.sig, block);
        }
    }

    // Loops.

    fn visit_expr_for_loop_mut(&mut self, expression: &mut ExprForLoop) {
        visit_mut::visit_expr_for_loop_mut(self, expression);
        self.head(&mut expression.body);
    }

    fn visit_expr_loop_mut(&mut self, expression: &mut ExprLoop) {
        visit_mut::visit_expr_loop_mut(self, expression);
        self.head(&mut expression.body);
    }

    fn visit_expr_while_mut(&mut self, expression: &mut ExprWhile) {
        visit_mut::visit_expr_while_mut(self, expression);
        self.head(&mut expression.body);
    }

    // What runs in the compiler, and what does not though it stands there.

    fn visit_expr_const_mut(&mut self, expression: &mut ExprConst) {
        self.with(false, |cover| {
            visit_mut::visit_expr_const_mut(cover, expression);
        });
    }

    fn visit_expr_repeat_mut(&mut self, expression: &mut ExprRepeat) {
        self.visit_expr_mut(&mut expression.expr);
        self.with(false, |cover| cover.visit_expr_mut(&mut expression.len));
    }

    fn visit_type_mut(&mut self, of: &mut Type) {
        self.with(false, |cover| visit_mut::visit_type_mut(cover, of));
    }

    fn visit_generics_mut(&mut self, generics: &mut Generics) {
        self.with(false, |cover| {
            visit_mut::visit_generics_mut(cover, generics)
        });
    }

    fn visit_generic_argument_mut(&mut self, argument: &mut GenericArgument) {
        self.with(false, |cover| {
            visit_mut::visit_generic_argument_mut(cover, argument);
        });
    }

    fn visit_expr_closure_mut(&mut self, closure: &mut ExprClosure) {
        self.with(true, |cover| {
            visit_mut::visit_expr_closure_mut(cover, closure);
        });
    }

    fn visit_expr_async_mut(&mut self, expression: &mut ExprAsync) {
        self.with(true, |cover| {
            visit_mut::visit_expr_async_mut(cover, expression);
        });
    }
}
